import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { parseSync } from "oxc-parser";

/**
 * Removes each statement of the id rewriting in turn and expects its unit tests to fail. Works on copies: one small package
 * per mutant in a temporary folder, all of them in one vitest run. Exit 1 when a mutant survives.
 */
const root = join(import.meta.dirname, "..");
const TEST = "test/unit/runtime/ids.test.ts";
const FILES = ["runtime/ids.ts", "lib/scan.ts", TEST];
/** What is mutated: a whole file, or one function of it. */
const TARGETS = [
  { path: "runtime/ids.ts" },
  { path: "lib/scan.ts", name: "splice" },
  { path: "lib/scan.ts", name: "splicePieces" },
];
const REMOVABLE = /^(Expression|Return|If|For|ForOf|While|Throw)Statement$|^VariableDeclaration$/;

interface Node {
  type: string;
  start: number;
  end: number;
  id?: { name?: string } | null;
}

interface Mutant {
  path: string;
  text: string;
  /** `runtime/ids.ts:31 this.#next += 1;` */
  label: string;
}

interface Report {
  testResults: { name: string; status: string; assertionResults: unknown[] }[];
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && "start" in value;

function children(node: Node): Node[] {
  return Object.values(node).flat().filter(isNode);
}

function* descendants(node: Node): Generator<Node> {
  for (const child of children(node)) {
    yield child;
    yield* descendants(child);
  }
}

/** Statements inside of functions, outermost first. */
function statements(program: Node, name?: string): Node[] {
  const all = [...descendants(program)];
  const scope = name === undefined ? program : all.find((node) => node.id?.name === name);
  if (!scope) throw new Error(`there is no ${name}`);
  return [...descendants(scope)]
    .filter(({ type }) => type === "BlockStatement" || type === "FunctionBody")
    .flatMap(children)
    .filter(({ type }) => REMOVABLE.test(type));
}

async function mutantsOf({ path, name }: { path: string; name?: string }): Promise<Mutant[]> {
  const text = await readFile(join(root, path), "utf8");
  const { program, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} cannot be parsed: ${errors[0]?.message}`);
  return statements(program as unknown as Node, name).map(({ start, end }) => {
    const line = text.slice(0, start).split("\n").length;
    const [first = ""] = text.slice(start, end).split("\n");
    const without = `${text.slice(0, start)};${text.slice(end)}`;
    return { path, text: without, label: `${path}:${line} ${first}` };
  });
}

/** A package of its own: the `#` imports lead to the copies beside it. */
async function writePackage(folder: string, mutant?: Mutant): Promise<void> {
  for (const path of FILES) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await cp(join(root, path), join(folder, path));
  }
  await cp(join(root, "package.json"), join(folder, "package.json"));
  if (mutant) await writeFile(join(folder, mutant.path), mutant.text);
}

async function runTests(folder: string): Promise<Report> {
  const config = `export default { test: { include: ["*/${TEST}"], maxWorkers: 2, isolate: false, testTimeout: 10000 } };\n`;
  await writeFile(join(folder, "vitest.config.mjs"), config);
  const output = join(folder, "report.json");
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const words = [vitest, "run", "--root", folder, "--reporter=json", `--outputFile=${output}`];
  // Red is what we want: the report counts, not the exit code.
  await promisify(execFile)(process.execPath, words, { cwd: folder }).catch(() => undefined);
  return JSON.parse(await readFile(output, "utf8")) as Report;
}

const folder = await mkdtemp(join(tmpdir(), "argus-mutate-"));
try {
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  const mutants = (await Promise.all(TARGETS.map(mutantsOf))).flat();
  await writePackage(join(folder, "unchanged"));
  await Promise.all(
    mutants.map((mutant, index) => writePackage(join(folder, `m${index}`), mutant)),
  );
  const report = await runTests(folder);
  const passed = (name: string) =>
    report.testResults.some(
      (result) => result.name.includes(`/${name}/`) && result.status === "passed",
    );
  const ran = (name: string) =>
    report.testResults.some((result) => result.name.includes(`/${name}/`));
  if (!passed("unchanged")) throw new Error("the tests fail without any mutation; run them first");
  const survivors = mutants.filter((_, index) => passed(`m${index}`) || !ran(`m${index}`));
  for (const { label } of survivors) console.error(`survived: ${label}`);
  console.info(`${mutants.length} mutants, ${survivors.length} survivors`);
  process.exitCode = survivors.length > 0 || mutants.length === 0 ? 1 : 0;
} finally {
  await rm(folder, { recursive: true, force: true });
}
