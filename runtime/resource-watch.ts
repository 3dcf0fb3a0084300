import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "#lib/logger.ts";
import { killAgent } from "./kill-agent.ts";
import type { BridgeTuning } from "./options.ts";
import type { Pressure, PressureSample } from "./pressure.ts";
import { Saturation } from "./saturation.ts";
import { type AgentKill, outOfMemory, pidLimitKill } from "./status.ts";

/** Between two looks at the tasks where that costs a few reads. */
const LOOK_MS = 2000;
/** Between two looks at everything: it may walk through /proc, some 15 ms of CPU on a small machine. */
const SAMPLE_MS = 15_000;
/** A kill seen at most this long before an app-server's end explains it. */
const SAME_KILL_MS = 5000;

export interface ResourceWatchOptions {
  pressure: Pressure;
  podUid: string;
  logger: Logger;
  tuning: Pick<BridgeTuning, "saturatedMs" | "lookMs" | "sampleMs">;
}

/** Called before the agent is ended, with the reason that its next start is told. */
type Blame = (cause: string) => void;

/** Looks at what the session uses, and ends an agent whose processes hold their limit; who started it starts it again. */
export class ResourceWatch {
  readonly #options: ResourceWatchOptions;
  readonly #saturation: Saturation;
  #sample: PressureSample = { pidLimitHits: 0 };
  #sampledAt = Number.NEGATIVE_INFINITY;
  #killed: AgentKill | undefined;
  #oomKills: number | undefined;

  constructor(options: ResourceWatchOptions) {
    this.#options = options;
    this.#saturation = new Saturation(options.tuning.saturatedMs);
  }

  /** What was seen last. */
  get sample(): PressureSample {
    return this.#sample;
  }

  /** The last time that processes of the agent were ended for a limit. */
  get killed(): AgentKill | undefined {
    return this.#killed;
  }

  /** Why SIGKILL ended a process just now, where the kernel did it for want of memory. */
  async explainKill(): Promise<string | undefined> {
    await this.#lookForKills();
    const { reason, message, at } = this.#killed ?? {};
    const recent = at !== undefined && Date.now() - at < SAME_KILL_MS;
    return reason === "OOMKilled" && recent ? message : undefined;
  }

  /** Looks until aborted. Never throws: what fails is logged, and tried again at the next look. */
  async run(blame: Blame, signal: AbortSignal): Promise<void> {
    const { logger, tuning } = this.#options;
    while (!signal.aborted) {
      await this.#look(blame).catch((error: unknown) => {
        logger.warn({ err: error }, "resources could not be watched");
      });
      await delay(tuning.lookMs ?? LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #look(blame: Blame): Promise<void> {
    const { pressure, tuning } = this.#options;
    await this.#lookForKills();
    const now = performance.now();
    if (now - this.#sampledAt >= (tuning.sampleMs ?? SAMPLE_MS)) {
      this.#sampledAt = now;
      this.#sample = await pressure.sample();
    } else {
      const tasks = await pressure.tasks();
      if (!tasks) return;
      this.#sample = { ...this.#sample, ...tasks };
    }
    if (this.#saturation.look(now, this.#sample)) await this.#endAgent(blame);
  }

  async #lookForKills(): Promise<void> {
    const kills = (await this.#options.pressure.oomKills?.()) ?? 0;
    const known = this.#oomKills ?? kills;
    this.#oomKills = kills;
    if (kills <= known) return;
    this.#killed = outOfMemory(this.#sample, Date.now());
    this.#options.logger.error({ kills }, "the kernel ended a process for want of memory");
  }

  async #endAgent(blame: Blame): Promise<void> {
    const { pressure, podUid, logger } = this.#options;
    this.#killed = pidLimitKill(this.#sample, Date.now());
    logger.error({ pids: this.#sample.pids }, "processes hold their limit: ending the agent");
    blame(this.#killed.message);
    await killAgent({ isolation: pressure.isolation, podUid });
  }
}
