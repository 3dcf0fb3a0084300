import type { Clock } from "#lib/clock.ts";
import type { Logger } from "#lib/logger.ts";
import type { Link } from "./lane-peer.ts";
import {
  isStubborn,
  runningWords,
  type Stopping,
  silenceWords,
  silentUntil,
  type TurnSpec,
} from "./silence.ts";
import type { TurnRecord } from "./turn-record.ts";

/** An interrupt that brought no end is repeated after this. */
const INSIST_MS = 30_000;
/** While a person's answer is waited for, it is looked at again after this. */
const LOOK_MS = 60_000;

export interface RunningOptions {
  link: Link;
  threadId: string;
  turnId: string;
  record: TurnRecord;
  spec: TurnSpec;
  clock: Clock;
  logger: Logger;
  /** It does something else now. */
  onWords: (words: string) => void;
}

/** Words change with every command; listeners are told at most this often. */
const TELL_MS = 1000;

/** A turn that runs: it is stopped on request, or when it has been silent for too long. */
export class RunningTurn {
  readonly #options: RunningOptions;
  readonly #over = new AbortController();
  #stopping: Stopping | undefined;
  #told = "";
  #telling = false;

  constructor(options: RunningOptions) {
    this.#options = options;
    options.record.onChange = () => void this.#tell();
    void this.#watchSilence();
    void this.#tell();
  }

  get record(): TurnRecord {
    return this.#options.record;
  }

  /** Why it was stopped; undefined = it was not. */
  get stopped(): string | undefined {
    return this.#stopping?.reason;
  }

  /** What it does, in words. */
  get words(): string {
    const { record, clock } = this.#options;
    return runningWords(record, this.#stopping, clock.monotonicMs());
  }

  /** Interrupts it, again and again until it ends. */
  stop(reason: string): void {
    if (this.#stopping || this.#over.signal.aborted) return;
    this.#stopping = { reason, since: this.#options.clock.monotonicMs() };
    void this.#tell();
    void this.#insist();
  }

  /** Its connection is lost: it is no longer looked at. */
  leave(): void {
    this.#over.abort();
    delete this.#options.record.onChange;
  }

  /** It has ended. What a stopped one left running is ended too. */
  async end(): Promise<void> {
    this.leave();
    if (!this.#stopping) return;
    const { link, threadId } = this.#options;
    await this.#ask(() => link.request("thread/backgroundTerminals/clean", { threadId }));
  }

  async #watchSilence(): Promise<void> {
    const { record, spec, clock } = this.#options;
    const { signal } = this.#over;
    while (!signal.aborted) {
      const until = silentUntil(record, spec);
      const ms = until === null ? LOOK_MS : until - clock.monotonicMs();
      if (ms <= 0) return this.stop(silenceWords(record, spec));
      await clock.sleep(Math.min(ms, LOOK_MS), signal).catch(() => undefined);
    }
  }

  async #insist(): Promise<void> {
    const { link, threadId, turnId, clock } = this.#options;
    const { signal } = this.#over;
    while (!signal.aborted && !link.isGone) {
      await this.#ask(() => link.request("turn/interrupt", { threadId, turnId }));
      await clock.sleep(INSIST_MS, signal).catch(() => undefined);
      this.#complain();
      void this.#tell();
    }
  }

  #complain(): void {
    const { turnId, logger, clock } = this.#options;
    if (!this.#stopping || this.#over.signal.aborted) return;
    if (isStubborn(this.#stopping, clock.monotonicMs()))
      logger.warn({ turn: turnId }, "an interrupted turn does not end");
  }

  /** The newest words, not too often. */
  async #tell(): Promise<void> {
    const { clock, onWords } = this.#options;
    const { signal } = this.#over;
    if (this.#telling) return;
    this.#telling = true;
    while (!signal.aborted && this.words !== this.#told) {
      this.#told = this.words;
      onWords(this.#told);
      await clock.sleep(TELL_MS, signal).catch(() => undefined);
    }
    this.#telling = false;
  }

  /** A refusal changes nothing: the turn may be over, or the runtime knows no such request. */
  async #ask(request: () => Promise<unknown>): Promise<void> {
    try {
      await request();
    } catch (error) {
      const { logger, turnId } = this.#options;
      logger.info({ turn: turnId, err: error }, "stopping a turn: a request was refused");
    }
  }
}
