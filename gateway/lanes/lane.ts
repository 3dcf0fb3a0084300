import { randomUUID } from "node:crypto";
import { backoffMs } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { OpenTurn } from "#protocol/lane-entry.ts";
import type { TurnProgress } from "#protocol/lane-methods.ts";
import { afterClock } from "../state/clock.ts";
import { nextWork, type Work } from "../state/next.ts";
import type { SessionState } from "../state/session-state.ts";
import { firstThread } from "../state/threads.ts";
import { begin, stopTurn, type TurnEnded, type TurnPlan } from "../state/turns.ts";
import type { AgentQuestion } from "./agent-question.ts";
import { heartbeatAt, requestHeartbeat, skipHeartbeat } from "./heartbeat.ts";
import { type Link, Refused } from "./lane-peer.ts";
import { LaneQuestions } from "./questions.ts";
import { startThread } from "./turn.ts";
import { TurnRunner } from "./turn-runner.ts";
import type { LaneWorld } from "./world.ts";

const RETRY = { baseMs: 250, maxMs: 5000 };
/** Without any change the session is looked at again after this. */
const LOOK_AGAIN_MS = 30_000;
/** An idle lane keeps its connection for the next message this long. */
const IDLE_MS = 60_000;

export interface LaneOptions {
  world: LaneWorld;
  name: string;
  uid: string;
  state: SessionState;
  /** Bytes that the store takes of one document. */
  limit: number;
  /** A turn ended, with what follows from it; senders are told. */
  onEnded: (ended: TurnEnded) => void;
  /** Somebody talks to the session's bridge directly. */
  hasClients: () => boolean;
  /** A turn runs, and what it does changed. */
  onProgress: (progress: TurnProgress) => void;
}

/**
 * One session's turns, one after the other. What it does follows from the document alone: whatever stands there is started
 * or settled, after any crash the same way.
 */
export class Lane {
  readonly #options: LaneOptions;
  readonly #turns: TurnRunner;
  readonly #questions: LaneQuestions;
  #link: Link | undefined;
  #wake = Promise.withResolvers<void>();
  #waitsFor = "";

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#questions = new LaneQuestions(options);
    const onRunning = (turn: OpenTurn, turnId: string) => this.#questions.running(turn, turnId);
    this.#turns = new TurnRunner({ ...options, onRunning });
  }

  get world(): LaneWorld {
    return this.#options.world;
  }

  get state(): SessionState {
    return this.#options.state;
  }

  /** Bytes that the store takes of the session's document. */
  get limit(): number {
    return this.#options.limit;
  }

  /** What the first of those that wait waits for, in words; empty when nothing holds it up. */
  get waitsFor(): string {
    return this.#waitsFor || this.#turns.startWords;
  }

  /** What the turn that runs is doing, in words; empty when none runs. */
  get running(): string {
    return this.#turns.words;
  }

  /** Asks the session's bridge something beside the turns. Throws `Unavailable` while it cannot be asked. */
  async ask(method: string, params: unknown, signal: AbortSignal): Promise<unknown> {
    const { world } = this.#options;
    if (this.#link && !this.#link.isGone) return await this.#link.request(method, params);
    const found = await world.reach({ onTurnEnd: () => undefined }, signal);
    if ("waitsFor" in found) throw new ArgusError("Unavailable", found.waitsFor);
    try {
      return await found.request(method, params);
    } finally {
      found.close();
    }
  }

  /** There may be something to do. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Stops the open turn, now or as soon as its bridge can be asked. Undefined: no such turn is open. */
  async stop(reason: string, id?: string): Promise<OpenTurn | undefined> {
    const turn = await this.state.reduce((document) => stopTurn(document, { id, reason }));
    if (turn) this.#turns.stop(turn);
    return turn;
  }

  /** Runs until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    // Also in the middle of a turn: whoever comes next asks the bridge about it.
    signal.addEventListener("abort", () => this.#link?.close(), { once: true });
    while (!signal.aborted) {
      await this.#readClock();
      const work = nextWork(this.state.current, this.#options.world.clock.now(), this.#beatAt());
      if (work.do === "rest") await this.#rest(work.until, signal);
      else if (await this.#tried(work, signal)) failures = 0;
      else await this.#pause(backoffMs(failures++, RETRY), signal);
    }
  }

  /** Never throws: waits that a clock which was set back has made too long are looked at again with the next look. */
  async #readClock(): Promise<void> {
    const { world, name } = this.#options;
    const now = world.clock.now();
    if (afterClock(this.state.current, now) === this.state.current) return;
    const facts = { session: name };
    world.logger.warn(
      facts,
      "the clock was set back: what waits for a time waits no longer than it was meant to",
    );
    await this.state.update((document) => afterClock(document, now)).catch(() => undefined);
  }

  #beatAt(): number | null {
    const { world, uid } = this.#options;
    const session = world.session();
    if (!session || session.spec.operatingMode === "Suspended") return null;
    const created = Date.parse(session.metadata.creationTimestamp ?? "");
    const facts = { uid, createdAt: Number.isNaN(created) ? 0 : created, isUp: world.isUp() };
    return heartbeatAt(this.state.current.heartbeat, session.spec.heartbeat, facts);
  }

  async #rest(until: number | null, signal: AbortSignal): Promise<void> {
    this.#waitsFor = "";
    const left = until === null ? LOOK_AGAIN_MS : until - this.#options.world.clock.now();
    const ms = Math.max(1, Math.min(LOOK_AGAIN_MS, left));
    if (!this.#link) await this.#pause(ms, signal);
    else if ((await this.#pause(Math.min(IDLE_MS, ms), signal)) === "late") {
      this.#link.close();
      this.#link = undefined;
    }
  }

  async #tried(work: Exclude<Work, { do: "rest" }>, signal: AbortSignal): Promise<boolean> {
    const { name, world } = this.#options;
    try {
      const link = await this.#reach(work, signal);
      if (!link) return false;
      if (work.do === "settle") await this.#settle(work.turn, link);
      else await this.#start(work.plan, link);
      this.#waitsFor = "";
      return true;
    } catch (error) {
      this.#waitsFor = `${errorMessage(error)} Trying again.`;
      const facts = { session: name, error: errorMessage(error) };
      if (!signal.aborted)
        world.logger.warn(facts, "a session's turn did not start or end; trying again");
      return false;
    }
  }

  async #settle(turn: OpenTurn, link: Link): Promise<void> {
    try {
      await this.#turns.settle(turn, link, () => this.#mainThread(link));
      this.#questions.over();
    } catch (error) {
      if (link.isGone) this.#questions.lost();
      // Another one's turn runs: its questions are not ours.
      else if (error instanceof Refused && error.reason === "busy") this.#questions.over();
      throw error;
    }
  }

  /** Commits the turn before anything of it leaves: from here on the bridge is asked, never guessed. */
  async #start(plan: Omit<TurnPlan, "id">, link: Link): Promise<void> {
    const { clock } = this.#options.world;
    if (
      plan.kind === "heartbeat" &&
      !(await this.#turns.hasTasks(link)) &&
      plan.eventIds.length === 0
    ) {
      await this.state.update((document) => skipHeartbeat(document, clock.now()));
      return;
    }
    const threadId = plan.threadId ?? (await this.#mainThread(link));
    const id = plan.inputId ?? `ev-${randomUUID()}`;
    await this.state.reduce((document) => begin(document, { ...plan, threadId, id }, clock.now()));
  }

  async #mainThread(link: Link): Promise<string> {
    const known = this.state.current.mainThread;
    if (known) return known;
    const threadId = await startThread(link);
    return await this.state.reduce((document) => firstThread(document, threadId));
  }

  /** The connection, made when there is none; undefined while the session has no ready pod. */
  async #reach(work: Work, signal: AbortSignal): Promise<Link | undefined> {
    const { world } = this.#options;
    const isBeat = work.do === "start" && work.plan.kind === "heartbeat";
    const held = work.do === "start" ? world.heldBy() : undefined;
    // A heartbeat may be the first that is written of a session.
    if (isBeat) await world.hold();
    // A cold session is woken for it, and one that is warm kept so: the document's demand says so.
    if (isBeat && (held !== undefined || !world.isUp())) await this.state.update(requestHeartbeat);
    if (held !== undefined) return this.#waits(held);
    if (this.#link && !this.#link.isGone) return this.#link;
    const questions = this.#questions;
    const events = {
      onTurnEnd: () => this.wake(),
      onQuestion: (question: AgentQuestion, from: Link) => questions.take(question, from),
      onResolved: (id: number) => questions.resolved(id),
    };
    const found = await world.reach(events, signal);
    if ("waitsFor" in found) return this.#waits(found.waitsFor);
    this.#link = found;
    return found;
  }

  #waits(words: string): undefined {
    this.#waitsFor = words;
  }

  /** Until something happens to the document or the session, or `ms` have passed. */
  async #pause(ms: number, signal: AbortSignal): Promise<"woken" | "late"> {
    const { world } = this.#options;
    const over = new AbortController();
    const changed = Promise.withResolvers<"woken">();
    const stop = world.watch(() => changed.resolve("woken"));
    const abort = () => changed.resolve("woken");
    signal.addEventListener("abort", abort, { once: true });
    void this.#wake.promise.then(abort);
    const late = world.clock.sleep(ms, over.signal).then(
      () => "late" as const,
      () => "woken" as const,
    );
    try {
      return signal.aborted ? "woken" : await Promise.race([changed.promise, late]);
    } finally {
      over.abort();
      stop();
      signal.removeEventListener("abort", abort);
      this.#wake = Promise.withResolvers();
    }
  }
}
