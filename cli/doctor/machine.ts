import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { errorMessage, isErrno } from "#lib/errors.ts";
import type { DataFolder } from "../data-folder.ts";
import { freePort } from "../up/ports.ts";
import { closedFolder } from "../up/program.ts";
import type { Check } from "./check.ts";

/** Whether the data folder can be made or written, and be reached by the sessions' own users. */
export function dataCheck({ root }: DataFolder, ownUsers: boolean): Check {
  const name = "data folder";
  const there = nearestExisting(root);
  try {
    accessSync(there, constants.W_OK | constants.X_OK);
  } catch (error) {
    const fix = "choose another with --data or ARGUS_DATA";
    const why = isErrno(error, "EACCES", "EROFS") ? "not writable" : errorMessage(error);
    return { name, state: "missing", found: `${root}: ${why}`, fix };
  }
  const closed = ownUsers ? closedFolder(there) : undefined;
  if (!closed) return { name, state: "ok", found: root };
  const found = `${closed} is closed to the sessions' own users`;
  return { name, state: "missing", found, fix: `chmod o+x ${closed}` };
}

function nearestExisting(path: string): string {
  if (existsSync(path) && statSync(path).isDirectory()) return path;
  const parent = dirname(path);
  return parent === path ? path : nearestExisting(parent);
}

export async function portCheck(port: number, url: string | undefined): Promise<Check> {
  const name = `port ${port}`;
  if (url?.endsWith(`:${port}`)) return { name, state: "ok", found: "used by argus up" };
  try {
    await freePort(port, "--port");
    return { name, state: "ok", found: "free" };
  } catch (error) {
    return { name, state: "missing", found: errorMessage(error), fix: "argus up --port <number>" };
  }
}

export async function runningCheck(url: string | undefined): Promise<Check> {
  const name = "argus up";
  const answers = url !== undefined && (await isHealthy(url));
  if (answers) return { name, state: "ok", found: `runs at ${url}` };
  return { name, state: "note", found: "does not run", fix: "./argus up" };
}

async function isHealthy(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(3_000) }).catch(
    () => undefined,
  );
  await answer?.body?.cancel();
  return answer?.ok === true;
}

export function modelCheck(hasModel: boolean): Check {
  const name = "model key";
  if (hasModel) return { name, state: "ok", found: "set" };
  const found = "not set: the session main runs the echo";
  return { name, state: "note", found, fix: "export OPENAI_API_KEY=…" };
}

export function isolationCheck(ownUsers: boolean): Check {
  const name = "user ids";
  if (ownUsers) return { name, state: "ok", found: "each session gets its own" };
  const found = "sessions run as you: they can read what you can read (docs/security.md)";
  return { name, state: "note", found, fix: "run argus up as root on Linux, or use a cluster" };
}
