import { backoffMs } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { EndedInput, LaneInput } from "#protocol/session-document.ts";
import type { LaneContext } from "../context.ts";
import { dialBridge } from "../dial.ts";
import { bridgeAddress, isReady } from "../pod.ts";
import { statusWords } from "../session-status.ts";
import { begin, chooseThread, end } from "../state/reduce.ts";
import type { SessionState } from "../state/session-state.ts";
import { LanePeer } from "./lane-peer.ts";
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

  /** Runs until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    // Also in the middle of a turn: whoever comes next asks the bridge about it.
    signal.addEventListener("abort", () => this.#peer?.close(), { once: true });
    while (!signal.aborted) {
      const head = this.state.current.inputs[0];
      if (!head) await this.#rest(signal);
      else if (await this.#tried(head, signal)) failures = 0;
      else await this.#pause(backoffMs(failures++, RETRY), signal);
    }
  }

  async #rest(signal: AbortSignal): Promise<void> {
    if (this.#peer && (await this.#pause(IDLE_MS, signal)) === "late") {
      this.#peer.close();
      this.#peer = undefined;
    } else if (!this.#peer) await this.#pause(LOOK_AGAIN_MS, signal);
  }

  async #tried(head: LaneInput, signal: AbortSignal): Promise<boolean> {
    const { context, name } = this.#options;
    try {
      return await this.#settle(head, signal);
    } catch (error) {
      this.#waitsFor = `${errorMessage(error)} Trying again.`;
      const facts = { session: name, input: head.id, error: errorMessage(error) };
      if (!signal.aborted)
        context.logger.warn(facts, "a message's turn did not start or end; trying again");
      return false;
    }
  }

  /** Brings the message at the head to its end. False: the session cannot be reached yet. */
  async #settle(head: LaneInput, signal: AbortSignal): Promise<boolean> {
    const peer = await this.#reach(signal);
    if (!peer) return false;
    const threadId = head.threadId ?? (await this.#mainThread(peer));
    // Committed before it leaves: from here on the bridge is asked, never guessed.
    if (!(await this.state.reduce((document) => begin(document, head.id)))) return true;
    this.#waitsFor = "";
    const { logger } = this.#options.context;
    logger.info({ session: this.#options.name, input: head.id, threadId }, "turn is being started");
    const turn = await runTurn(peer, head, threadId);
    const ended = await this.state.reduce((document) =>
      end(document, { id: head.id, threadId, now: Date.now(), ...turn }),
    );
    if (ended) this.#options.onEnded(ended);
    return true;
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
