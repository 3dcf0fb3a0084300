import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { isErrno } from "#lib/errors.ts";
import type { TurnDefaults } from "#protocol/bridge.ts";

export interface TurnDefaultsOptions {
  approvals: "never" | "untrusted";
  workspace: string;
  /** The session has a container for itself (`Pressure.container`). */
  isolated: boolean;
  /** Path of the native Codex, whose package brings a bwrap for where PATH has none. */
  codex?: string;
  /** PATH of the agent; default: this process's. */
  path?: string;
}

const PROBE_MS = 5000;
/** What Codex asks of it: user, process and network namespaces, the file system read-only, devices of its own. */
const NAMESPACES = "--ro-bind / / --dev /dev --unshare-user --unshare-pid --unshare-net";
/** By its path: the agent's PATH may lead nowhere in the sandbox's eyes. */
const PROBE = [...NAMESPACES.split(" "), "/bin/sh", "-c", ":"];

const WARNING =
  "No working sandbox: bwrap is missing or may not make user namespaces here. Every command of the agent asks first, " +
  "and runs with this user's full rights once it is allowed. Install bubblewrap (apt-get install bubblewrap), or allow " +
  "unprivileged user namespaces.";
const NEVER =
  "This session's spec.approvals is never: a turn that nobody watches waits at its first command until someone answers.";

/**
 * The policy of a turn that names none. In a container the container is the sandbox. Elsewhere Codex's own sandbox where
 * it works. Where it does not, every command asks: a command that a person allowed runs outside Codex's sandbox, any
 * other one fails in it, so read-only is the safest that still works. `warning` says so, for a person to read.
 */
export async function chooseTurnDefaults(
  options: TurnDefaultsOptions,
): Promise<TurnDefaults & { warning?: string }> {
  const { approvals, workspace: cwd, isolated } = options;
  if (isolated) return { cwd, approvalPolicy: approvals, sandbox: "danger-full-access" };
  if (await sandboxWorks(options)) {
    return { cwd, approvalPolicy: approvals, sandbox: "workspace-write" };
  }
  const warning = approvals === "never" ? `${WARNING} ${NEVER}` : WARNING;
  return { cwd, approvalPolicy: "untrusted", sandbox: "read-only", warning };
}

/** macOS brings a sandbox of its own. On Linux Codex takes the bwrap on PATH, be it broken, and its own one only if there is none. */
async function sandboxWorks({ codex, path }: TurnDefaultsOptions): Promise<boolean> {
  if (process.platform === "darwin") return true;
  const found = await tryBwrap("bwrap", path);
  if (found !== undefined) return found;
  const bundled = codex && join(codex, "..", "..", "codex-resources", "bwrap");
  if (!bundled || !(await isExecutable(bundled))) return false;
  return (await tryBwrap(bundled, path)) ?? false;
}

/** Undefined = there is no such program. */
async function tryBwrap(program: string, path: string | undefined): Promise<boolean | undefined> {
  try {
    const env = path === undefined ? {} : { env: { PATH: path } };
    await promisify(execFile)(program, PROBE, { timeout: PROBE_MS, ...env });
    return true;
  } catch (error) {
    return isErrno(error, "ENOENT") ? undefined : false;
  }
}

function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
