import { setTimeout as delay } from "node:timers/promises";
import { backoffMs, monotonicMs } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { BridgeState } from "#protocol/bridge.ts";
import { AppServer, type AppServerEnd } from "./app-server.ts";
import type { AppServerCommand } from "./app-server-command.ts";
import { forgetAppServer, rememberAppServer } from "./leftover.ts";

const BACKOFF = { baseMs: 500, maxMs: 30_000 };
/** A process that lived this long starts the back-off anew. */
const STABLE_MS = 60_000;
/** Starts in a row that failed before the state says so. */
const FAILED_AFTER = 3;

export interface SupervisorOptions {
  home: string;
  logger: Logger;
  /** Called before each start. */
  prepare: () => Promise<AppServerCommand>;
  onLines: (lines: Buffer[]) => void;
  onOverflow: (count: number) => void;
  /** Speaks with the fresh process until it is usable; a throw ends it. */
  handshake: (signal: AbortSignal) => Promise<void>;
  /** Why SIGKILL ended it, when nobody here sent that; undefined = not known. */
  explainKill?: () => Promise<string | undefined>;
  /** It ended, whatever the reason. */
  onEnd: (reason: string) => void;
  /** `again` = it had ended by itself before. */
  onHot: (again: string | undefined) => void;
  onState: (state: BridgeState, reason?: string) => void;
}

type Rest = "no" | "park" | "stop";

/** Keeps one app-server alive: starts it, restarts it with back-off, parks it, ends it. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  #process: AppServer | undefined;
  #hot = false;
  #hotAt = 0;
  /** Why the process must not be started again by itself. */
  #rest: Rest = "no";
  #failure = "";
  #restarts = 0;
  #cause: string | undefined;
  /** Woken at every change of what `ready` waits for. */
  #changed = Promise.withResolvers<void>();
  #wanted = Promise.withResolvers<void>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** The app-server is initialized and takes lines. */
  get hot(): boolean {
    return this.#hot;
  }

  /** When it last became hot (on the monotonic clock); 0 = never. */
  get hotAt(): number {
    return this.#hotAt;
  }

  /** Starts after an end that nobody asked for. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Peers should not be read until it has caught up. */
  get full(): boolean {
    return this.#process?.full ?? false;
  }

  drained(): Promise<void> {
    return this.#process?.drained() ?? Promise.resolve();
  }

  /** To the process that is there; lost when there is none. */
  write(...pieces: Buffer[]): void {
    this.#process?.write(...pieces);
  }

  /** Runs until `stop`. Never throws: what fails is tried again. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    let endedBy: string | undefined;
    while (!this.#asked("stop")) {
      if (this.#asked("park")) await this.#parked();
      else if (failures > 0) await this.#backOff(failures, signal);
      if (this.#asked("stop")) return;
      const started = monotonicMs();
      const reason = await this.#live(endedBy, signal);
      const stable = monotonicMs() - started >= STABLE_MS;
      const asked = !this.#asked("no");
      failures = asked ? 0 : stable ? 1 : failures + 1;
      endedBy = asked ? undefined : reason;
      if (!asked) this.#restarts += 1;
    }
  }

  /**
   * Resolves when the app-server is hot, started if it is parked. Throws Unavailable at the deadline (on the monotonic clock),
   * with the reason.
   */
  async ready(deadline: number, signal: AbortSignal): Promise<void> {
    this.#wanted.resolve();
    while (!this.#hot) {
      const left = deadline - monotonicMs();
      if (left <= 0 || this.#rest === "stop" || signal.aborted) throw this.#unavailable();
      const stop = new AbortController();
      const either = AbortSignal.any([signal, stop.signal]);
      const late = delay(left, undefined, { signal: either }).catch(() => undefined);
      await Promise.race([this.#changed.promise, late]).finally(() => stop.abort());
    }
  }

  /** Ends the process until somebody needs it. Call it only over an idle one. */
  async park(): Promise<void> {
    if (!this.#hot || this.#rest !== "no") return;
    this.#rest = "park";
    this.#wanted = Promise.withResolvers();
    this.#setHot(false);
    await this.#process?.stop();
  }

  /** Ends the process for good. */
  async stop(): Promise<void> {
    this.#rest = "stop";
    this.#wanted.resolve();
    this.#setHot(false);
    await this.#process?.stop();
  }

  /** SIGKILL: it does not answer any more; it is started again. */
  kill(): void {
    this.blame("the app-server did not answer any more and was ended");
    this.#process?.kill("SIGKILL");
  }

  /** Why the running process is about to end, for who knows better than its exit tells. */
  blame(cause: string): void {
    if (this.#process) this.#cause = cause;
  }

  async #parked(): Promise<void> {
    this.#options.onState("parked");
    await this.#wanted.promise;
    if (this.#rest === "park") this.#rest = "no";
  }

  async #backOff(failures: number, signal: AbortSignal): Promise<void> {
    const state = failures >= FAILED_AFTER ? "failed" : "starting";
    this.#options.onState(state, this.#failure);
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const pause = delay(backoffMs(failures - 1, BACKOFF), undefined, { signal: either });
    await Promise.race([pause.catch(() => undefined), this.#changed.promise]);
    stop.abort();
  }

  #asked(rest: Rest): boolean {
    return this.#rest === rest;
  }

  /** One life, from start to end. Resolves to the reason of its end. */
  async #live(endedBy: string | undefined, signal: AbortSignal): Promise<string> {
    const { onState, onEnd, logger } = this.#options;
    if (!endedBy) onState("starting");
    let reason: string;
    try {
      const process = await this.#start();
      reason = await this.#serve(process, endedBy, signal);
    } catch (error) {
      reason = errorMessage(error);
    }
    reason = this.#cause ?? reason;
    this.#cause = undefined;
    this.#process = undefined;
    this.#setHot(false);
    this.#failure = reason;
    if (this.#rest === "no") logger.error({ reason }, "app-server ended");
    onEnd(reason);
    return reason;
  }

  async #start(): Promise<AppServer> {
    const { prepare, logger, home, onLines, onOverflow } = this.#options;
    const { command, env, cwd } = await prepare();
    const process = await AppServer.start({ command, env, cwd, logger, onLines, onOverflow });
    this.#process = process;
    await rememberAppServer(home, process.pid).catch((error: unknown) => {
      logger.warn({ err: error }, "app-server was not recorded");
    });
    return process;
  }

  async #serve(
    process: AppServer,
    endedBy: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const { handshake, onHot, onState, home, logger } = this.#options;
    const ended = new AbortController();
    const exited = process.exited.finally(() => ended.abort());
    try {
      if (this.#asked("no")) await handshake(AbortSignal.any([signal, ended.signal]));
      if (!this.#asked("no")) return endReason(await process.stop());
      this.#setHot(true);
      onState("hot");
      onHot(endedBy);
      logger.info({ pid: process.pid }, "app-server is hot");
      return await this.#reasonOf(await exited);
    } catch (error) {
      const end = await process.stop();
      return `${errorMessage(error)} (${endReason(end)})`;
    } finally {
      await forgetAppServer(home).catch((error: unknown) => {
        logger.warn({ err: error }, "app-server record was not removed");
      });
    }
  }

  async #reasonOf(end: AppServerEnd): Promise<string> {
    const explained = end.signal === "SIGKILL" ? await this.#options.explainKill?.() : undefined;
    return explained ?? endReason(end);
  }

  #setHot(hot: boolean): void {
    this.#hot = hot;
    if (hot) this.#hotAt = monotonicMs();
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve();
  }

  #unavailable(): ArgusError {
    const why = this.#failure ? `: ${this.#failure}` : "";
    return new ArgusError("Unavailable", `the app-server does not run${why}`);
  }
}

function endReason({ code, signal }: AppServerEnd): string {
  return signal ? `the app-server was ended by ${signal}` : `the app-server exited with ${code}`;
}
