import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { nodeFlags } from "#cli/node-flags.ts";

export interface ControllerProcessOptions {
  /** Folder that scripts/bundle.ts wrote. */
  bundle: string;
  kubeconfig: string;
  namespace: string;
  identity: string;
  environment?: Record<string, string>;
  /** Another program and its arguments instead, with the same log. */
  command?: string[];
}

/** One line of its log. */
export interface LogLine {
  time: string;
  level: number;
  msg: string;
  [field: string]: unknown;
}

/** `argus controller` as an image runs it: the bundle, in a process of its own. */
export class ControllerProcess {
  readonly log: LogLine[] = [];
  readonly startedMs = Date.now();
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #wakers = new Set<() => void>();

  constructor(options: ControllerProcessOptions) {
    const { bundle, kubeconfig, namespace, identity, environment } = options;
    const { PATH, HOME } = process.env;
    const env = {
      PATH,
      HOME,
      KUBECONFIG: kubeconfig,
      ARGUS_NAMESPACE: namespace,
      ARGUS_IDENTITY: identity,
      ARGUS_LISTEN: "127.0.0.1:0",
      ARGUS_DEFAULT_IMAGE: "argus:test",
      ...environment,
    };
    const own = [...nodeFlags("controller"), join(bundle, "argus.js"), "controller"];
    const command = options.command ?? own;
    this.#child = spawn(process.execPath, command, { env, stdio: ["ignore", "ignore", "pipe"] });
    this.#exited = once(this.#child, "exit");
    if (!this.#child.stderr) throw new Error("no stderr");
    createInterface({ input: this.#child.stderr }).on("line", (line) => this.#hear(line));
    void this.#exited.then(() => this.#wake());
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when it has gone. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#child.kill(signal);
    await this.#exited;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async exited(): Promise<void> {
    await this.#exited;
  }

  /** The first log line with this message, or this message and these fields. */
  async logged(msg: string, timeoutMs = 30_000): Promise<LogLine> {
    const deadline = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const found = this.log.find((line) => line.msg === msg);
      if (found) return found;
      const tail = () => this.log.slice(-5).map((line) => JSON.stringify(line));
      if (!this.running) throw new Error(`the controller ended:\n${tail().join("\n")}`);
      if (deadline.aborted) throw new Error(`no "${msg}" in the log:\n${tail().join("\n")}`);
      await this.#next(deadline);
    }
  }

  rssKiB(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN);
  }

  #hear(line: string): void {
    try {
      this.log.push(JSON.parse(line) as LogLine);
    } catch {
      this.log.push({ time: "", level: 50, msg: line });
    }
    this.#wake();
  }

  #wake(): void {
    for (const waker of this.#wakers) waker();
    this.#wakers.clear();
  }

  #next(deadline: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#wakers.add(resolve);
      deadline.addEventListener("abort", () => resolve(), { once: true });
    });
  }
}
