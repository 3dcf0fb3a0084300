import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ArgusError, isErrno } from "#lib/errors.ts";
import { endProcessTree } from "#lib/process-record.ts";
import { Cgroup } from "./cgroup.ts";
import type { ContainerPlan } from "./container-plan.ts";
import { POD_MARK } from "./container-plan.ts";
import type { KubeletContext } from "./context.ts";
import type { Owner } from "./identity.ts";
import type { LogFile } from "./log-file.ts";
import { lastLines, renderLines } from "./log-lines.ts";
import { type Container, kubeTime, type Terminated } from "./pod.ts";
import { type Exit, type HeldProcess, holdProcess } from "./process.ts";
import { giveTo } from "./volumes.ts";

export interface RunInput {
  context: KubeletContext;
  podUid: string;
  container: Container;
  /** Number of the run: names the log and the group. */
  run: number;
  plan: ContainerPlan;
  owner: Owner | undefined;
  /** The container's own folder: working directory and termination message. */
  folder: string;
  /** Whether it is the pod's only running container, so that the pod's mark finds its wanderers. */
  alone: boolean;
}

/** As a kubelet: longer termination messages are cut. */
const MAX_MESSAGE_BYTES = 4096;
/** How long the output may stay open after the last known process of a run ended. */
const OUTPUT_END_MS = 2000;
const LOG_TAIL_LINES = 80;
const LOG_TAIL_BYTES = 2048;

/** Where a container's termination message goes. */
export const terminationFile = (folder: string) => join(folder, "termination-log");

/** One run of a container: from the recorded start to the end of its last process. */
export class ContainerRun {
  readonly startedMs = Date.now();
  readonly #input: RunInput;
  readonly #held: HeldProcess;
  readonly #cgroup: Cgroup | undefined;
  readonly #log: LogFile;
  readonly #copied: Promise<unknown>;

  private constructor(
    input: RunInput,
    held: HeldProcess,
    { cgroup, log }: { cgroup: Cgroup | undefined; log: LogFile },
  ) {
    this.#input = input;
    this.#held = held;
    this.#cgroup = cgroup;
    this.#log = log;
    const { stdout, stderr } = held.child;
    this.#copied = Promise.allSettled([
      ...(stdout ? [log.copy(stdout, "stdout")] : []),
      ...(stderr ? [log.copy(stderr, "stderr")] : []),
    ]);
  }

  /** Starts the program; it is on record and under its limits before its first instruction. Throws NotFound, InvalidInput. */
  static async start(input: RunInput): Promise<ContainerRun> {
    const { context, podUid, container, run, plan, owner, folder } = input;
    const cwd = await workingFolder(plan.cwd, folder);
    await writeFile(terminationFile(folder), "", { mode: 0o644 });
    await giveTo(folder, owner);
    const cgroup =
      context.cgroups &&
      (await Cgroup.create(
        context.cgroups,
        `${podUid}_${container.name}`,
        container.resources ?? {},
      ));
    const held = await holdProcess({ ...plan, cwd }, owner);
    const log = await context.logs.start(podUid, container.name, run);
    const started = new ContainerRun(input, held, { cgroup, log });
    try {
      await context.runs.add({ ...held.record, podUid, container: container.name });
      await cgroup?.add(held.record.pid);
    } catch (error) {
      await started.end(0);
      await started.finished();
      throw error;
    }
    held.release();
    return started;
  }

  get exited(): Promise<Exit> {
    return this.#held.exited;
  }

  /** Ends everything of the run: SIGTERM, after the grace SIGKILL. Also what outlived its first process. */
  async end(graceMs: number, hurry?: AbortSignal): Promise<void> {
    const { podUid, alone } = this.#input;
    const members = (await this.#cgroup?.members()) ?? [];
    await endProcessTree({
      roots: [this.#held.record, ...members],
      ...(alone && { mark: { name: POD_MARK, value: podUid } }),
      graceMs,
      ...(hurry && { hurry }),
    });
  }

  /** After `exited`: ends leftovers, closes the log and says how it went. */
  async finished(): Promise<Terminated> {
    const exit = await this.#held.exited;
    const finishedMs = Date.now();
    await this.end(0);
    await this.#outputEnd();
    await this.#input.context.logs.finish(this.#log);
    const oomKilled = exit.exitCode === 137 && ((await this.#cgroup?.oomKills()) ?? 0) > 0;
    await this.#cgroup?.remove();
    const { context, podUid, container } = this.#input;
    context.runs.end({ podUid, container: container.name, pid: this.#held.record.pid });
    const message = await this.#message(exit);
    return {
      ...exit,
      reason: oomKilled ? "OOMKilled" : exit.exitCode === 0 ? "Completed" : "Error",
      ...(message && { message }),
      startedAt: kubeTime(this.startedMs),
      finishedAt: kubeTime(finishedMs),
    };
  }

  /** Without a cgroup a process can hide from its end and keep our pipe open; then the log ends without it. */
  async #outputEnd(): Promise<void> {
    const { stdout, stderr } = this.#held.child;
    const timer = setTimeout(() => {
      stdout?.destroy();
      stderr?.destroy();
    }, OUTPUT_END_MS);
    await this.#copied;
    clearTimeout(timer);
  }

  /** What the container left in its file; without it and with the fallback policy the end of its output. */
  async #message({ exitCode }: Exit): Promise<string> {
    const { container, folder } = this.#input;
    const text = await headOf(terminationFile(folder), MAX_MESSAGE_BYTES);
    const fallback = container.terminationMessagePolicy === "FallbackToLogsOnError";
    if (text || !fallback || exitCode === 0) return text;
    const kept = await readFile(this.#log.path).catch(() => Buffer.alloc(0));
    const tail = renderLines(lastLines(kept, LOG_TAIL_LINES), {});
    return tail.subarray(-LOG_TAIL_BYTES).toString("utf8");
  }
}

async function headOf(file: string, bytes: number): Promise<string> {
  const text = await readFile(file).catch((error: unknown) => {
    if (isErrno(error, "ENOENT", "EISDIR")) return Buffer.alloc(0);
    throw error;
  });
  return text.subarray(0, bytes).toString("utf8");
}

/** `wanted` when it exists, else the container's own folder. Nothing is made outside of our folders. */
async function workingFolder(wanted: string | undefined, own: string): Promise<string> {
  await mkdir(own, { recursive: true });
  await rm(terminationFile(own), { force: true, recursive: true });
  if (!wanted) return own;
  const found = await stat(wanted).catch(() => undefined);
  if (found?.isDirectory()) return wanted;
  const message = `workingDir ${wanted} does not exist on this machine (images are not used)`;
  throw new ArgusError("NotFound", message, {});
}
