import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  endProcessTree,
  type ProcessMark,
  type ProcessRecord,
  recordProcess,
} from "#lib/process-record.ts";

export interface DaemonOptions {
  name: string;
  command: string;
  args: string[];
  /** Its output is appended here. */
  log: string;
  environment?: Record<string, string>;
  /** It outlives the process that starts it, and has this variable to be found by. */
  detached?: ProcessMark | undefined;
}

const LOG_LINES = 15;

/** A program that can be killed and started again with the same arguments. */
export class Daemon {
  readonly options: DaemonOptions;
  #child: ChildProcess | undefined;
  #record: ProcessRecord | undefined;

  constructor(options: DaemonOptions) {
    this.options = options;
  }

  /** Undefined before its first start. */
  get record(): ProcessRecord | undefined {
    return this.#record;
  }

  async start(): Promise<void> {
    const { command, args, log, environment, detached } = this.options;
    const output = openSync(log, "a", 0o600);
    // The kernel ends what is not detached together with the process that started it, however that ends.
    const line = detached
      ? [command, ...args]
      : ["setpriv", "--pdeathsig", "KILL", command, ...args];
    const child = spawn(line[0] ?? "", line.slice(1), {
      detached: detached !== undefined,
      stdio: ["ignore", output, output],
      env: {
        PATH: process.env.PATH,
        ...environment,
        ...(detached && { [detached.name]: detached.value }),
      },
    });
    closeSync(output);
    this.#child = child;
    await once(child, "spawn");
    if (detached) child.unref();
    this.#record = await recordProcess(child.pid ?? 0);
  }

  /** Throws with the end of its log when it has ended. */
  assertRunning(): void {
    const { exitCode, signalCode } = this.#child ?? {};
    if (exitCode == null && signalCode == null) return;
    const { name, log } = this.options;
    throw new Error(`${name} ended (${exitCode ?? signalCode}), log ${log}:\n${lastLines(log)}`);
  }

  /** Ends it, at once without a grace; no error when it runs no more. */
  async stop(graceMs = 0): Promise<void> {
    if (this.#record) await endProcessTree({ roots: [this.#record], graceMs });
  }
}

export function lastLines(log: string): string {
  return readFileSync(log, "utf8").trimEnd().split("\n").slice(-LOG_LINES).join("\n");
}

/** The ends of all logs in a cluster's folder, for an error that is about to lose them. */
export function lastWords(folder: string): string {
  const parent = join(folder, "logs");
  const logs = existsSync(parent) ? readdirSync(parent).map((name) => join(parent, name)) : [];
  return logs.map((log) => `${log}:\n${lastLines(log)}`).join("\n");
}
