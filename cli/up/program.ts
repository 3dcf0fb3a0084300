import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { DataFolder } from "../data-folder.ts";
import { FRUGAL, nodeFlags } from "../node-flags.ts";
import { mirrorProgram, type Program } from "./mirror.ts";

/** The program as it is installed: this file's checkout, the Node that runs it, Codex from its packages. */
export function installedProgram(): Program {
  const root = join(import.meta.dirname, "..", "..");
  return { root, node: realpathSync(process.execPath), codex: findCodex(root) };
}

/** The real binary: its launcher would cost a Node process more. */
export function findCodex(root: string): string | undefined {
  const vendor = join(
    root,
    "node_modules",
    "@openai",
    `codex-${process.platform}-${process.arch}`,
    "vendor",
  );
  if (!existsSync(vendor)) return undefined;
  return readdirSync(vendor)
    .map((triple) => join(vendor, triple, "bin", "codex"))
    .find((binary) => existsSync(binary));
}

const OTHERS_MAY_ENTER = 0o001;
const OTHERS_MAY_READ = 0o004;

/** Whether every user of this machine can reach and read `path`. */
export function reachableByAll(path: string): boolean {
  if ((statSync(path).mode & OTHERS_MAY_READ) === 0) return false;
  return foldersAbove(path).every((folder) => (statSync(folder).mode & OTHERS_MAY_ENTER) !== 0);
}

/** The first folder on the way to `path` (itself included) that other users cannot enter. */
export function closedFolder(path: string): string | undefined {
  return [...foldersAbove(path), path].find(
    (folder) => (statSync(folder).mode & OTHERS_MAY_ENTER) === 0,
  );
}

function foldersAbove(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [] : [...foldersAbove(parent), parent];
}

/**
 * Makes `<data>/bin` with `argus` and `codex`. As root, sessions run as users of their own: where those cannot reach
 * the checkout (a clone in a closed home), they get a copy of it under `<data>/program`.
 */
export async function installBin(
  folder: DataFolder,
  installed: Program,
  ownUsers: boolean,
): Promise<Program> {
  const program =
    ownUsers && !runnableByAll(installed)
      ? await mirrorProgram(installed, folder.program)
      : installed;
  await mkdir(folder.bin, { recursive: true });
  const launcher = join(folder.bin, "argus");
  await writeFile(launcher, launcherText(program));
  await chmod(launcher, 0o755);
  const codex = join(folder.bin, "codex");
  await rm(codex, { force: true });
  if (program.codex) await symlink(program.codex, codex);
  return program;
}

/** A POSIX shell script that runs `argus` with the flags of its command. */
function launcherText({ node, root }: Program): string {
  const run = (flags: string[]) =>
    `exec ${[node, ...flags, join(root, "cli", "argus.mjs")].map(quoted).join(" ")} "$@"`;
  const cases = FRUGAL.map((relay) => `  ${relay}) ${run(nodeFlags(relay))} ;;`);
  return ["#!/bin/sh", 'case "$1" in', ...cases, "esac", run([]), ""].join("\n");
}

function runnableByAll({ root, node, codex }: Program): boolean {
  const needed = [
    node,
    join(root, "cli", "argus.mjs"),
    join(root, "node_modules", "zod", "package.json"),
  ];
  return [...needed, ...(codex ? [codex] : [])].every(reachableByAll);
}

const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
