import { randomUUID } from "node:crypto";
import { backoffMs } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { EndedInput, OpenTurn } from "#protocol/lane-entry.ts";
import type { LaneContext } from "../context.ts";
import { dialBridge } from "../dial.ts";
import { bridgeAddress, isReady } from "../pod.ts";
import { statusWords } from "../session-status.ts";
import { nextWork, type Work } from "../state/next.ts";
import type { SessionState } from "../state/session-state.ts";
import { begin, chooseThread, endTurn, type TurnPlan } from "../state/turns.ts";
import { LanePeer } from "./lane-peer.ts";
import { turnText } from "./prompt.ts";
import { runTurn, startThread } from "./turn.ts";

const RETRY = { baseMs: 250, maxMs: 5000 };
/** Without any change the session is looked at again after this. */
const LOOK_AGAIN_MS = 30_000;
/** An idle lane keeps its connection for the next message this long. */
const IDLE_MS = 60_000;

export interface LaneOptions {
  context: LaneContext;
  name: string;
  uid: string;
  state: SessionState;
  /** Bytes that the store takes of one document. */
  limit: number;
  /** A message ended; its senders are told. */
  onEnded: (ended: EndedInput) => void;
}

/**
 * One session's accepted messages, one turn each, in order. What it does follows from the document alone: whatever is at its
 * head is started or settled, after any crash the same way.
 */
export class Lane {
  readonly #options: LaneOptions;
  #peer: LanePeer | undefined;
  #wake = Promise.withResolvers<void>();
  #waitsFor = "";

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  get state(): SessionState {
    return this.#options.state;
  }

  /** What the message at the head waits for, in words; empty while its turn runs. */
  get waitsFor(): string {
    return this.#waitsFor;
  }

  /** There may be something to do. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Bytes that the store takes of the session's document. */
  get limit(): number {
    return this.#options.limit;
  }

  /** Runs until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    // Also in the middle of a turn: whoever comes next asks the bridge about it.
    signal.addEventListener("abort", () => this.#peer?.close(), { once: true });
    while (!signal.aborted) {
      const work = nextWork(this.state.current, Date.now(), null);
      if (work.do === "rest") await this.#rest(work.until, signal);
      else if (await this.#tried(work, signal)) failures = 0;
      else await this.#pause(backoffMs(failures++, RETRY), signal);
    }
  }

  async #rest(until: number | null, signal: AbortSignal): Promise<void> {
    const ms = until === null ? LOOK_AGAIN_MS : Math.min(LOOK_AGAIN_MS, until - Date.now());
    if (!this.#peer) await this.#pause(ms, signal);
    else if ((await this.#pause(Math.min(IDLE_MS, ms), signal)) === "late") {
      this.#peer.close();
      this.#peer = undefined;
    }
  }

  async #tried(work: Exclude<Work, { do: "rest" }>, signal: AbortSignal): Promise<boolean> {
    const { context, name } = this.#options;
    try {
      const peer = await this.#reach(signal);
      if (!peer) return false;
      if (work.do === "settle") await this.#settle(work.turn, peer);
      else await this.#start(work.plan, peer);
      return true;
    } catch (error) {
      this.#waitsFor = `${errorMessage(error)} Trying again.`;
      const facts = { session: name, error: errorMessage(error) };
      if (!signal.aborted)
        context.logger.warn(facts, "a session's turn did not start or end; trying again");
      return false;
    }
  }

  /** Commits the turn before anything of it leaves: from here on the bridge is asked, never guessed. */
  async #start(plan: Omit<TurnPlan, "id">, peer: LanePeer): Promise<void> {
    const threadId = plan.threadId ?? (await this.#mainThread(peer));
    const id = plan.inputId ?? `ev-${randomUUID()}`;
    await this.state.reduce((document) => begin(document, { ...plan, threadId, id }, Date.now()));
  }

  /** Brings the open turn to its end. */
  async #settle(turn: OpenTurn, peer: LanePeer): Promise<void> {
    const threadId = turn.threadId ?? (await this.#mainThread(peer));
    this.#waitsFor = "";
    const { logger } = this.#options.context;
    logger.info({ session: this.#options.name, turn: turn.id, threadId }, "turn is being started");
    const text = turnText(this.state.current, turn);
    const end = await runTurn(peer, { id: turn.id, text, threadId });
    const { id } = turn;
    const facts = { id, threadId, now: Date.now(), limit: this.limit };
    const ended = await this.state.reduce((document) => endTurn(document, { ...end, ...facts }));
    if (ended?.input) this.#options.onEnded(ended.input);
  }

  async #mainThread(peer: LanePeer): Promise<string> {
    const known = this.state.current.mainThread;
    if (known) return known;
    const threadId = await startThread(peer);
    await this.state.update((document) => chooseThread(document, threadId));
    return threadId;
  }

  /** The connection, made when there is none; undefined while the session has no ready pod. */
  async #reach(signal: AbortSignal): Promise<LanePeer | undefined> {
    if (this.#peer && !this.#peer.isGone) return this.#peer;
    const { context, name, uid } = this.#options;
    const session = context.directory.session(name);
    if (session?.metadata.uid !== uid) throw new ArgusError("NotFound", "The session was deleted.");
    const pod = context.directory.podOf(session);
    const address = pod && isReady(pod) ? bridgeAddress(pod) : undefined;
    if (!address) {
      this.#waitsFor = statusWords(session, pod, undefined).message;
      return undefined;
    }
    const { keys, podTokens } = context;
    const bridge = await dialBridge({ address, role: "lane", keys, podTokens }, signal);
    this.#peer = new LanePeer(bridge, () => this.wake());
    return this.#peer;
  }

  /** Until something happens to the document or the session, or `ms` have passed. */
  async #pause(ms: number, signal: AbortSignal): Promise<"woken" | "late"> {
    const { context, name } = this.#options;
    const changed = Promise.withResolvers<"woken" | "late">();
    const late = setTimeout(() => changed.resolve("late"), ms);
    const stop = context.directory.watch(name, () => changed.resolve("woken"));
    const abort = () => changed.resolve("woken");
    signal.addEventListener("abort", abort, { once: true });
    void this.#wake.promise.then(abort);
    try {
      return signal.aborted ? "woken" : await changed.promise;
    } finally {
      clearTimeout(late);
      stop();
      signal.removeEventListener("abort", abort);
      this.#wake = Promise.withResolvers();
    }
  }
}
