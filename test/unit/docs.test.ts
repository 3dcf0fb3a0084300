import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { readManifests } from "#cli/commands/apply.ts";
import { ArgusCronSpec } from "#crds/argus-cron.ts";
import { ArgusSessionSpec } from "#crds/argus-session.ts";
import packageJson from "#package" with { type: "json" };

const root = join(import.meta.dirname, "..", "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

const pages = [
  "README.md",
  "AGENTS.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

const commandLine = [
  "cli/command-line.ts",
  "cli/node-host-program.ts",
  ...readdirSync(join(root, "cli/program")).map((name) => `cli/program/${name}`),
]
  .map(read)
  .join("\n");
const commands = [...commandLine.matchAll(/\.command\("([a-z-]+)"/g)].map(([, name]) => name);
const options = [...commandLine.matchAll(/"(?:-[a-z], )?(--[a-z-]+)/g)].map(([, name]) => name);

test("every argus command and option that a page names exists", () => {
  const wrong = pages.flatMap((page) =>
    [...read(page).matchAll(/(?:\.\/argus|`argus) ([a-z][^`\n|#]*)/g)].flatMap(([, rest = ""]) => {
      const words = rest.trim().split(/\s+/);
      const unknown = words.filter((word) => word.startsWith("--") && !options.includes(word));
      const known = commands.includes(words[0]?.replace(/[^a-z-].*/, "")) || isLater(words[0]);
      return [...(known ? [] : [words[0]]), ...unknown].map((word) => `${page}: ${word}`);
    }),
  );
  expect(wrong).toEqual([]);
});

/** Processes that decisions may speak of before they are there. */
const isLater = (word: string | undefined) => word === "bot" || word === "node";

test("every npm script that a page names exists", () => {
  const scripts = ["ci", ...Object.keys(packageJson.scripts)];
  const named = pages.flatMap((page) =>
    [...read(page).matchAll(/npm (?:run )?([a-z-]+)/g)].map(([, name = ""]) => [page, name]),
  );
  const prose = ["with", "or", "has", "alias", "by", "in", "package", "install"];
  const wrong = named.filter(([, name = ""]) => ![...scripts, ...prose].includes(name));
  expect(wrong).toEqual([]);
});

test("every link and every path of this repository that a page names exists", () => {
  const folders = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "node_modules")
    .map(({ name }) => name);
  const wrong = pages.flatMap((page) => {
    const text = read(page);
    const links = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, to = ""]) =>
      join(dirname(page), to),
    );
    const paths = [...text.matchAll(/[`\s]((?:[a-z]+\/)[\w./-]*\.(?:ts|md|sh|yaml|json))/g)]
      .map(([, path = ""]) => path)
      .filter((path) => folders.includes(path.split("/")[0] ?? ""));
    return [...links, ...paths]
      .filter((path) => !existsSync(join(root, path)))
      .map((path) => `${page}: ${path}`);
  });
  expect(wrong).toEqual([]);
});

test("each dependency has its reason and each reason its dependency", () => {
  const sections = read("docs/dependencies.md").split("\n## ").slice(1);
  const listed = sections.map((section) =>
    [...section.matchAll(/^\| `([^`]+)` \| \S.*\|$/gm)].map(([, name]) => name),
  );
  const { dependencies, optionalDependencies, devDependencies } = packageJson;
  const installed = [dependencies, optionalDependencies, devDependencies];
  expect(listed).toEqual(installed.map((names) => Object.keys(names).sort()));
});

test("generated files are up to date", () => {
  execFileSync(process.execPath, [join(root, "scripts", "generate.ts"), "--check"], {
    stdio: "pipe",
  });
});

test("the examples are valid and none has a field that would be pruned", () => {
  for (const name of readdirSync(join(root, "examples"))) {
    const documents = readManifests(read(`examples/${name}`), "default");
    expect(documents.length, name).toBeGreaterThan(0);
    for (const { resource, object } of documents) {
      const schema = resource.kind === "ArgusSession" ? ArgusSessionSpec : ArgusCronSpec;
      const { spec } = object as unknown as { spec: unknown };
      expect(schema.strict().safeParse(spec).error, name).toBeUndefined();
    }
  }
});
