import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, constants } from "node:fs/promises";
import { constants as system } from "node:os";
import { isAbsolute, join } from "node:path";
import { Writable } from "node:stream";
import { ArgusError } from "#lib/errors.ts";
import { type ProcessRecord, recordProcess } from "#lib/process-record.ts";
import type { ContainerPlan } from "./container-plan.ts";
import type { Owner } from "./identity.ts";

export interface Exit {
  exitCode: number;
  signal?: number;
}

export interface HeldProcess {
  record: ProcessRecord;
  child: ChildProcess;
  /** Lets the program begin. Before this only a waiting shell runs. */
  release(): void;
  exited: Promise<Exit>;
}

/**
 * Waits for a line on descriptor 3 before it becomes the program: by then the process is on record and in its
 * group. Without that line (we died) it ends.
 */
const GATE = 'read -r _ <&3 || exit 126; exec 3<&-; exec "$@"';

/** Starts `plan` held at the gate, in a session and group of its own. Throws NotFound when there is no such program. */
export async function holdProcess(
  plan: ContainerPlan & { cwd: string },
  owner: Owner | undefined,
): Promise<HeldProcess> {
  const [command = "", ...args] = plan.argv;
  const program = await findProgram(command, plan.env.PATH ?? "");
  const child = spawn("/bin/sh", ["-c", GATE, "gate", program, ...args], {
    cwd: plan.cwd,
    env: plan.env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    ...owner,
  });
  const exited = exitOf(child);
  await once(child, "spawn");
  const gate = child.stdio[3];
  if (child.pid === undefined || !(gate instanceof Writable)) {
    throw new ArgusError("Internal", "a started process has no id", { program });
  }
  gate.on("error", () => undefined); // it ended before its release; its exit tells
  const record = await recordProcess(child.pid);
  return { record, child, exited, release: () => gate.end("\n") };
}

/** Path of a program as a shell would find it. */
export async function findProgram(command: string, path: string): Promise<string> {
  const places = command.includes("/")
    ? [command]
    : path.split(":").map((folder) => join(folder, command));
  for (const place of places) {
    const found = await access(place, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found && isAbsolute(place)) return place;
  }
  const message = `exec: ${JSON.stringify(command)}: not found on this machine`;
  throw new ArgusError("NotFound", message, { command });
}

async function exitOf(child: ChildProcess): Promise<Exit> {
  const ended = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  ended.catch(() => undefined); // a failed spawn is reported by the wait for "spawn"
  const [code, signal] = await ended;
  if (signal === null) return { exitCode: code ?? 0 };
  const number = system.signals[signal];
  return { exitCode: 128 + number, signal: number };
}
