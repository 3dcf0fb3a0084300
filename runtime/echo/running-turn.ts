import { randomUUID } from "node:crypto";
import { systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import { askApproval, type CommandItem, commandItem } from "./approval.ts";
import type { Asks } from "./asks.ts";
import { type Act, decide, LABEL, say, textOf } from "./script.ts";
import type { InputPart, Item, Turn, TurnStatus } from "./shapes.ts";
import { turnView, uuidv7 } from "./shapes.ts";
import { newTurn } from "./thread-file.ts";
import { IDLE, type Thread } from "./threads.ts";
import type { Wire } from "./wire.ts";

export interface TurnPeers {
  thread: Thread;
  wire: Wire;
  asks: Asks;
}

/** Why a reply stops before its end. */
const STEERED = new Error("steered");
const INTERRUPTED = new Error("interrupted");
class TurnFailed extends Error {}

/** A user message as an item, e.g. to be recorded before the turn is answered for. */
export function userMessage(input: readonly InputPart[], clientId: string | null): Item {
  const now = Date.now();
  const times = { startedAtMs: now, completedAtMs: now };
  return { type: "userMessage", id: uuidv7(now), clientId, content: input, ...times };
}

/** A turn under way: answers its messages one after the other; a message that comes meanwhile cuts the answer off. */
export class RunningTurn {
  readonly turn: Turn;
  readonly #peers: TurnPeers;
  readonly #inbox: Item[];
  readonly #stop = new AbortController();
  #steered = new AbortController();
  #waitsOnApproval = false;
  #ending = false;

  constructor(peers: TurnPeers, first: Item) {
    this.#peers = peers;
    this.#inbox = [first];
    this.turn = newTurn(uuidv7(first.startedAtMs), first.startedAtMs);
  }

  get threadStatus(): Record<string, unknown> {
    return { type: "active", activeFlags: this.#waitsOnApproval ? ["waitingOnApproval"] : [] };
  }

  /** Adds a message; false = the turn is ending and takes none. */
  steer(message: Item): boolean {
    if (this.#ending || this.#stop.signal.aborted) return false;
    this.#inbox.push(message);
    this.#steered.abort(STEERED);
    return true;
  }

  interrupt(): void {
    this.#stop.abort(INTERRUPTED);
  }

  /** Stops without a word: the process ends. What was recorded stays. */
  abandon(): void {
    this.#stop.abort(new Error("the process ends"));
  }

  /** Resolves when the turn has ended and that is recorded. */
  async run(): Promise<void> {
    this.#notifyStatus();
    this.#notifyTurn("turn/started");
    try {
      for (let next = this.#inbox.shift(); next; next = this.#inbox.shift()) {
        await this.#answer(next);
      }
      await this.#end("completed");
    } catch (error) {
      await this.#stopped(error);
    }
  }

  async #answer(message: Item): Promise<void> {
    this.#started(message);
    this.turn.items.push(message);
    this.#completed(message);
    this.#steered = new AbortController();
    if (this.#inbox.length > 0) return;
    try {
      await this.#act(decide(textOf(message.content as InputPart[])));
    } catch (error) {
      const steered = this.#steered.signal.aborted && !this.#stop.signal.aborted;
      if (!steered || error instanceof TurnFailed) throw error;
    }
  }

  async #act(act: Act): Promise<void> {
    switch (act.kind) {
      case "say":
        return this.#say(act.words, act.pauseMs);
      case "approve":
        return this.#approve(act.command);
      case "fail":
        throw new TurnFailed(act.message);
    }
  }

  /** Streams one agent message. Dropped half-way when it is steered or interrupted, as Codex drops it. */
  async #say(words: string[], pauseMs = 0): Promise<void> {
    const { thread, wire } = this.#peers;
    const signal = AbortSignal.any([this.#stop.signal, this.#steered.signal]);
    signal.throwIfAborted();
    const id = `msg_${randomUUID()}`;
    const item: Item = { ...agentMessage(id), text: "" };
    this.#started(item);
    const all = thread.labelled ? words : [LABEL, ...words];
    for (const delta of all) {
      await wire.ready(signal);
      if (pauseMs > 0) await systemClock.sleep(pauseMs, signal);
      signal.throwIfAborted();
      this.#notify("item/agentMessage/delta", { itemId: id, delta });
    }
    thread.labelled = true;
    await this.#finish({ ...item, text: all.join("").trimEnd(), completedAtMs: Date.now() });
  }

  async #approve(command: string): Promise<void> {
    const { thread, asks } = this.#peers;
    const item = commandItem(command, thread.facts.cwd);
    this.#started(item);
    this.#waitOnApproval(true);
    const params = { threadId: thread.facts.id, turnId: this.turn.id };
    // A message that comes meanwhile waits: only the answer or an interrupt ends the question.
    const outcome = await askApproval({ asks, item, params, signal: this.#stop.signal });
    this.#waitOnApproval(false);
    const done: CommandItem = { ...item, ...outcome.change, completedAtMs: Date.now() };
    if (done.aggregatedOutput) {
      const delta = done.aggregatedOutput;
      this.#notify("item/commandExecution/outputDelta", { itemId: item.id, delta });
    }
    await this.#finish(done);
    if (outcome.interrupts) this.interrupt();
    await this.#say(say(outcome.words).words);
  }

  async #finish(item: Item): Promise<void> {
    this.turn.items.push(item);
    await this.#peers.thread.append({ record: "item", turnId: this.turn.id, item });
    this.#completed(item);
  }

  async #stopped(error: unknown): Promise<void> {
    if (error instanceof TurnFailed) return this.#fail(error.message);
    const { signal } = this.#stop;
    if (signal.reason === INTERRUPTED) return this.#end("interrupted");
    if (signal.aborted) return;
    await this.#fail(errorMessage(error));
  }

  async #fail(message: string): Promise<void> {
    this.turn.error = { message, codexErrorInfo: "other", additionalDetails: null };
    this.#notify("error", { error: this.turn.error, willRetry: false });
    await this.#end("failed");
  }

  async #end(status: TurnStatus): Promise<void> {
    this.#ending = true;
    const { thread } = this.#peers;
    const now = Date.now();
    const { id: turnId, error } = this.turn;
    await thread.append({ record: "end", turnId, status, error, atMs: now });
    Object.assign(this.turn, { status, completedAtMs: now });
    thread.facts.updatedAtMs = now;
    thread.active = undefined;
    this.#notifyStatus(status === "failed" ? { type: "systemError" } : IDLE);
    this.#notifyTurn("turn/completed");
  }

  #waitOnApproval(waits: boolean): void {
    this.#waitsOnApproval = waits;
    this.#notifyStatus();
  }

  #notifyStatus(status: Record<string, unknown> = this.threadStatus): void {
    const threadId = this.#peers.thread.facts.id;
    this.#peers.wire.notify("thread/status/changed", { threadId, status });
  }

  #notifyTurn(method: string): void {
    const view = this.turn.status === "completed" ? "summary" : "notLoaded";
    const threadId = this.#peers.thread.facts.id;
    this.#peers.wire.notify(method, { threadId, turn: turnView(this.turn, view) });
  }

  #started(item: Item): void {
    this.#notify("item/started", { item, startedAtMs: item.startedAtMs });
  }

  #completed(item: Item): void {
    this.#notify("item/completed", { item, completedAtMs: item.completedAtMs });
  }

  #notify(method: string, params: object): void {
    const threadId = this.#peers.thread.facts.id;
    this.#peers.wire.notify(method, { ...params, threadId, turnId: this.turn.id });
  }
}

const agentMessage = (id: string): Item => ({
  type: "agentMessage",
  id,
  phase: null,
  startedAtMs: Date.now(),
  completedAtMs: null,
});
