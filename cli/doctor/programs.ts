import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { errorMessage } from "#lib/errors.ts";
import { findCodex } from "../up/program.ts";
import { type Check, installCommand } from "./check.ts";

const PROBE_MS = 10_000;

interface Probe {
  /** First line of its output; undefined = it could not be run. */
  line: string | undefined;
  problem: string;
}

async function probe(command: string, args: string[]): Promise<Probe> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { timeout: PROBE_MS });
    return { line: stdout.split("\n")[0]?.trim() ?? "", problem: "" };
  } catch (error) {
    const lines = errorMessage(error).trim().split("\n");
    return { line: undefined, problem: lines.at(-1) ?? "" };
  }
}

const NEEDED_NODE = 24;

export function nodeCheck(version: string): Check {
  const major = Number(version.replace(/^v/, "").split(".")[0]);
  const ok = major >= NEEDED_NODE;
  const fix = "run ./argus, which brings Node 24; where npm has none for this platform install it";
  return { name: "node", state: ok ? "ok" : "missing", found: version, fix };
}

export async function toolCheck(
  tool: { name: string; args: string[]; needed: boolean; why: string },
  fix: string,
): Promise<Check> {
  const { line } = await probe(tool.name, tool.args);
  if (line !== undefined) return { name: tool.name, state: "ok", found: line };
  const state = tool.needed ? "missing" : "note";
  return { name: tool.name, state, found: `not found: ${tool.why}`, fix };
}

export async function codexCheck(root: string): Promise<Check> {
  const name = "codex";
  const binary = findCodex(root);
  const fix = "npm ci --include=optional";
  if (!binary) {
    return { name, state: "note", found: "not installed: sessions can only run echo", fix };
  }
  const { line, problem } = await probe(binary, ["--version"]);
  if (line === undefined) return { name, state: "missing", found: `does not run: ${problem}`, fix };
  return { name, state: "ok", found: `${line} (${binary})` };
}

/** Codex confines its commands with it; without, commands of sessions ask first. */
export async function bwrapCheck(platform: string): Promise<Check> {
  const name = "bwrap";
  if (platform !== "linux") return { name, state: "ok", found: "not used on this system" };
  const args = ["--ro-bind", "/", "/", "--unshare-user", "--unshare-pid", "true"];
  const { line, problem } = await probe("bwrap", args);
  if (line !== undefined) return { name, state: "ok", found: "works" };
  const fix = problem.includes("ENOENT")
    ? installCommand({ debian: "bubblewrap", mac: "" }, platform)
    : "sysctl -w kernel.unprivileged_userns_clone=1 (and kernel.apparmor_restrict_unprivileged_userns=0)";
  const found = `does not work (${problem}): Codex's commands are not confined, unknown ones ask first`;
  return { name, state: "note", found, fix };
}
