import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readEnvironment } from "#cli/config.ts";

/**
 * Runs every test whose size is set by proofSize() at its full size, with a fresh seed, and the mutation of the id
 * rewriting; writes what it saw to docs/proof.md. Exit 1 when something failed.
 */
const root = join(import.meta.dirname, "..");

interface Report {
  testResults: { name: string; assertionResults: { fullName: string; status: string }[] }[];
}

interface Finished {
  code: number | null;
  output: string;
}

async function run(command: string, args: string[]): Promise<Finished> {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...readEnvironment(), PROVE: "full", NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
    process.stdout.write(chunk);
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

async function proofFiles(): Promise<string[]> {
  const names = await readdir(join(root, "test"), { recursive: true });
  const tests = names.filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
  const texts = await Promise.all(tests.map((name) => readFile(join(root, name), "utf8")));
  return tests.filter((_, index) => texts[index]?.includes("proofSize(")).sort();
}

/** `test file` → the sizes that it printed. */
function sizesOf(output: string): Map<string, string[]> {
  const sizes = new Map<string, string[]>();
  for (const [, file = "", size = ""] of output.matchAll(
    /stdout \| (\S+\.test\.ts)[^\n]*\n(?:[^\n]*\n)*?random cases: (\d+)/g,
  )) {
    sizes.set(file, [...(sizes.get(file) ?? []), Number(size).toLocaleString("en")]);
  }
  return sizes;
}

function page(report: Report, sizes: Map<string, string[]>, mutation: Finished): string {
  const rows = report.testResults.map(({ name, assertionResults }) => {
    const file = name.slice(root.length + 1);
    const failed = assertionResults.filter(({ status }) => status === "failed").length;
    const passed = assertionResults.filter(({ status }) => status === "passed").length;
    return `| \`${file}\` | ${(sizes.get(file) ?? []).join(", ")} | ${passed} | ${failed} |`;
  });
  const survivors = mutation.output.trim().split("\n").at(-1) ?? "";
  return [
    "# Proof at full size",
    "",
    "Written by `npm run prove`: each random test at its full size, with a fresh seed (a failure prints its seed and replays).",
    "`npm test` runs the same tests at a smaller size, which it prints.",
    "",
    "| test | random cases | passed | failed |",
    "|---|---|---|---|",
    ...rows,
    "",
    `Mutation of the id rewriting (\`npm run mutate\`): ${survivors}`,
    "",
  ].join("\n");
}

const folder = await mkdtemp(join(tmpdir(), "argus-prove-"));
const reportFile = join(folder, "report.json");
const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`];
const files = await proofFiles();
const tests = await run("vitest", ["run", ...reporters, ...files]);
const mutation = await run(process.execPath, ["scripts/mutate.ts"]);
const report = JSON.parse(readFileSync(reportFile, "utf8")) as Report;
await writeFile(join(root, "docs/proof.md"), page(report, sizesOf(tests.output), mutation));
await rm(folder, { recursive: true });
process.exitCode = tests.code === 0 && mutation.code === 0 ? 0 : 1;
