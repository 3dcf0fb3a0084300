import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

/** What each folder may import, besides itself. Imports go down only; the processes never know each other. */
const MAY_IMPORT: Record<string, string[]> = {
  lib: [],
  crds: ["lib"],
  protocol: ["lib"],
  cluster: ["crds", "protocol", "lib"],
  channel: ["protocol", "lib"],
  controller: ["cluster", "crds", "protocol", "lib"],
  gateway: ["cluster", "crds", "protocol", "lib"],
  bot: ["channel", "cluster", "crds", "protocol", "lib"],
  webhook: ["channel", "protocol", "lib"],
  runtime: ["cluster", "crds", "protocol", "lib"],
  // Also runs alone, on Node 20: what it imports goes into one file.
  "node-host": ["protocol", "lib"],
  localcluster: ["cluster", "crds", "protocol", "lib"],
};
const PROCESS_FOLDERS = ["controller", "gateway", "bot", "webhook", "runtime", "node-host"];

/** Packages that only these places may import. */
const PACKAGE_HOMES: Record<string, string[]> = {
  "@kubernetes/client-node": ["cluster", "cli", "localcluster", "scripts"],
  pino: ["lib"],
  commander: ["cli"],
};

interface Source {
  folder: string;
  path: string;
  text: string;
}

const root = join(import.meta.dirname, "..");
const folders = [...Object.keys(MAY_IMPORT), "cli", "scripts"];
const sources: Source[] = folders.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".gen.ts"))
    .map((name) => ({
      folder,
      path: `${folder}/${name}`,
      text: readFileSync(join(root, folder, name), "utf8"),
    })),
);

const imports = (text: string) =>
  [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1] ?? "");

test("imports go down only and processes never import each other", () => {
  const wrong = sources.flatMap(({ folder, path, text }) => {
    const allowed = MAY_IMPORT[folder];
    if (!allowed) return [];
    return imports(text)
      .filter((name) => name.startsWith("#"))
      .filter((name) => !allowed.includes(name.slice(1).split("/")[0] ?? ""))
      .filter((name) => name !== "#package" && !name.startsWith(`#${folder}/`))
      .map((name) => `${path} imports ${name}`);
  });
  expect(wrong).toEqual([]);
});

test("relative imports stay inside their folder", () => {
  const wrong = sources.flatMap(({ folder, path, text }) => {
    const depth = path.split("/").length - 2;
    return imports(text)
      .filter((name) => name.startsWith("../".repeat(depth + 1)))
      .map((name) => `${path} (${folder}) imports ${name}`);
  });
  expect(wrong).toEqual([]);
});

test("each package is imported only where it belongs", () => {
  const wrong = sources.flatMap(({ folder, path, text }) =>
    imports(text)
      .filter((name) => PACKAGE_HOMES[name] && !PACKAGE_HOMES[name].includes(folder))
      // Types are free: they are erased.
      .filter((name) => !new RegExp(`import type [^;]*from "${name}"`).test(text))
      .map((name) => `${path} imports ${name}`),
  );
  expect(wrong).toEqual([]);
});

test("process folders do not know in which mode they run", () => {
  const wrong = sources
    .filter(({ folder }) => PROCESS_FOLDERS.includes(folder))
    .filter(({ text }) => /embedded|localcluster/i.test(text))
    .map(({ path }) => path);
  expect(wrong).toEqual([]);
});

test("process.env is read in one file", () => {
  const readers = sources
    .filter(({ text }) => text.includes("process.env"))
    .map(({ path }) => path);
  expect(readers.filter((path) => path !== "cli/config.ts")).toEqual([]);
});

test("files stay within 300 lines and free of loose ends", () => {
  const long = sources.filter(({ text }) => text.split("\n").length > 301).map(({ path }) => path);
  const loose = sources
    .filter(({ text }) =>
      /\bas any\b(?! \w)|: any\b(?! \w)|@ts-ignore|oxlint-disable|biome-ignore/.test(text),
    )
    .map(({ path }) => path);
  expect({ long, loose }).toEqual({ long: [], loose: [] });
});

const packageOf = (name: string) => /^(@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name;

test("what the program loads is there without the packages for development", () => {
  const { dependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  ) as Record<"dependencies" | "optionalDependencies", Record<string, string>>;
  // The gateway makes the devices' file by it.
  const loaded = sources.filter(({ folder, path }) => {
    return folder !== "scripts" || path === "scripts/bundle.ts";
  });
  const statement = /^import (?!type )[^"]*"([@a-z][^"]*)"|\bimport\("([@a-z][^"]*)"\)/gm;
  const wrong = loaded.flatMap(({ path, text }) =>
    [...text.matchAll(statement)]
      .map(([, named, lazy]) => ({ name: packageOf(named ?? lazy ?? ""), isLazy: !named }))
      .filter(({ name }) => !name.startsWith("node:") && !dependencies[name])
      // What is loaded when it is needed may be missing, and that is said then.
      .filter(({ name, isLazy }) => !(isLazy && optionalDependencies[name]))
      .map(({ name }) => `${path} imports ${name}`),
  );
  expect(wrong).toEqual([]);
});
