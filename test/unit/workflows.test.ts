import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

interface Step {
  uses?: string;
  run?: string;
}
interface Workflow {
  permissions: object;
  jobs: Record<string, { "timeout-minutes"?: number; steps: Step[] }>;
}

const root = join(import.meta.dirname, "..", "..");
const folder = join(root, ".github", "workflows");
const workflows = readdirSync(folder).map((name) => {
  const text = readFileSync(join(folder, name), "utf8");
  return { name, text, workflow: parse(text) as Workflow };
});

test("every foreign action is pinned by its commit, with the version beside it", () => {
  const loose = workflows.flatMap(({ name, text }) =>
    [...text.matchAll(/uses: (.*)/g)]
      .map(([, what = ""]) => what)
      .filter((what) => !/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(what))
      .map((what) => `${name}: ${what}`),
  );
  expect(loose).toEqual([]);
});

test("no workflow may write by default, and every job ends", () => {
  for (const { name, workflow } of workflows) {
    expect({ name, permissions: workflow.permissions }).toEqual({
      name,
      permissions: { contents: "read" },
    });
    for (const job of Object.values(workflow.jobs))
      expect(job["timeout-minutes"]).toBeGreaterThan(0);
  }
});

test("nothing that a person of outside writes is put into a shell", () => {
  const wrong = workflows.flatMap(({ name, workflow }) =>
    Object.values(workflow.jobs)
      .flatMap(({ steps }) => steps)
      .filter(({ run = "" }) => /\$\{\{\s*(github\.event|github\.head_ref|inputs)/.test(run))
      .map(({ run }) => `${name}: ${run}`),
  );
  expect(wrong).toEqual([]);
});

test("every file of the tree that a workflow names is there", () => {
  const missing = workflows.flatMap(({ name, text }) =>
    [...text.matchAll(/(?<=[\s("])((?:test|charts|scripts|\.ci)\/[\w./-]*\w)/g)]
      .map(([, path = ""]) => path)
      .filter((path) => !existsSync(join(root, path)))
      .map((path) => `${name}: ${path}`),
  );
  expect(missing).toEqual([]);
});
