import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readEnvironment } from "#cli/config.ts";

/**
 * Runs every test whose size is set by proofSize() at its full size, with a fresh seed, and the mutation of the id
 * rewriting; writes what it saw to docs/proof.md. With files, and maybe `-t NAME` of their tests, only these: their rows take the
 * place of those before, the others stay. Exit 1 when something failed.
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

/** `test file` → what the expression finds in all that its tests printed. */
function printedBy(output: string, expression: RegExp): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let file = "";
  for (const line of output.split("\n")) {
    file = /^stdout \| (\S+\.test\.ts)/.exec(line)?.[1] ?? file;
    const words = expression.exec(line)?.[1];
    if (words !== undefined) found.set(file, [...(found.get(file) ?? []), words]);
  }
  return found;
}

/** A row's first cell → the row. */
function rowsOf(report: Report, output: string, only: string | undefined): Map<string, string> {
  const sizes = printedBy(output, /^random cases: (\d+)/);
  const counted = printedBy(output, /^proof: (.*)/);
  const rows = new Map<string, string>();
  for (const { name, assertionResults } of report.testResults) {
    const file = name.slice(root.length + 1);
    const test = only === undefined ? `\`${file}\`` : `\`${file}\`, ${only}`;
    const count = (wanted: string) =>
      assertionResults.filter(({ status }) => status === wanted).length;
    const cases = (sizes.get(file) ?? []).map((size) => Number(size).toLocaleString("en"));
    const cells = [test, cases.join(", "), count("passed"), count("failed")];
    rows.set(test, `| ${[...cells, (counted.get(file) ?? []).join("; ")].join(" | ")} |`);
  }
  return rows;
}

/** The rows that stand in the page. */
function rowsIn(text: string): Map<string, string> {
  const lines = text.split("\n").filter((line) => line.startsWith("| `"));
  return new Map(lines.map((line) => [line.split(" | ")[0]?.slice(2) ?? "", line]));
}

function page(rows: Map<string, string>, mutation: string): string {
  const sorted = [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  return [
    "# Proof at full size",
    "",
    "Written by `npm run prove`: each random test at its full size, with a fresh seed (a failure prints its seed and replays).",
    "`npm test` runs the same tests at a smaller size, which it prints. A row that names a test was run alone: `npm run prove -- FILE -t NAME`.",
    "",
    "| test | random cases | passed | failed | counted |",
    "|---|---|---|---|---|",
    ...sorted,
    "",
    mutation,
    "",
  ].join("\n");
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { test: { type: "string", short: "t" } },
});
const pageFile = join(root, "docs/proof.md");
const isAll = positionals.length === 0;
const folder = await mkdtemp(join(tmpdir(), "argus-prove-"));
const reportFile = join(folder, "report.json");
const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`];
const files = isAll ? await proofFiles() : positionals;
const named = values.test === undefined ? [] : ["-t", values.test];
const tests = await run("vitest", ["run", ...reporters, ...named, ...files]);
const report = JSON.parse(readFileSync(reportFile, "utf8")) as Report;
const rows = rowsOf(report, tests.output, values.test);
const mutation = isAll ? await run(process.execPath, ["scripts/mutate.ts"]) : undefined;
// Another run may have written meanwhile.
const before = await readFile(pageFile, "utf8");
const survivors = mutation
  ? `Mutation of the id rewriting (\`npm run mutate\`): ${mutation.output.trim().split("\n").at(-1) ?? ""}`
  : (before.split("\n").find((line) => line.startsWith("Mutation of")) ?? "");
await writeFile(pageFile, page(isAll ? rows : new Map([...rowsIn(before), ...rows]), survivors));
await rm(folder, { recursive: true });
process.exitCode = tests.code === 0 && (mutation?.code ?? 0) === 0 ? 0 : 1;
