import { beforeAll, expect, test } from "vitest";
import { buildPrograms, missingPrograms, programPath } from "#test/cluster/binaries.ts";
import { template } from "#test/support/chart.ts";
import { runProgram } from "#test/support/run-program.ts";
import { VALUE_SETS } from "./value-sets.ts";

const BUILD_MS = 600_000;
const hasGo = await runProgram("go", ["version"]).then(
  ({ code }) => code === 0,
  () => false,
);
/** Built once into the cache; without Go and without an earlier build there is nothing to run. */
const isLeftOut = !hasGo && missingPrograms(["kube-score"]).length > 0;
beforeAll(async () => {
  if (!isLeftOut) await buildPrograms(["kube-score"], () => {});
}, BUILD_MS);

/** What kube-score has to say, one line each. */
async function findings(values: object): Promise<string[]> {
  const { stdout: yaml } = await template({ ...values, crds: { enabled: false } });
  const args = ["score", "--output-format", "ci", "-"];
  const { stdout } = await runProgram(programPath("kube-score"), args, { input: yaml });
  const lines = stdout.split("\n").filter(Boolean);
  expect(lines.length).toBeGreaterThan(50);
  return lines.filter((line) => !/^\[(OK|SKIPPED)\]/.test(line));
}

/** What a set leaves out on purpose, and what kube-score then says. */
const ASKED_FOR: Record<string, RegExp> = {
  "small and temporary": /NetworkPolicy|PodDisruptionBudget/,
  // A Service in front of the one controller; a stand-by is a choice.
  observed: /Deployment few replicas$/,
  // A Service in front of the one bot, of which there are never two at once.
  "Telegram bot with a webhook": /Deployment (few replicas|update strategy)$/,
};

test.skipIf(isLeftOut).for(Object.entries(VALUE_SETS))(
  "kube-score has no finding: %s",
  async ([name, values]) => {
    const found = await findings({ ...values, imagePullPolicy: "Always" });
    expect(found.filter((line) => !ASKED_FOR[name]?.test(line))).toEqual([]);
  },
);

test.skipIf(isLeftOut)(
  "with the default pull policy it finds that one difference, once for each pod",
  async () => {
    const found = await findings({});
    expect(found.map((line) => line.replace(/^.*: \(\w+\) /, ""))).toEqual(
      Array.from({ length: 3 }, () => "ImagePullPolicy is not set to Always"),
    );
  },
);
