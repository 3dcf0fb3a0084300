import { setImmediate as immediate } from "node:timers/promises";
import type { z } from "zod";
import { Asks } from "./asks.ts";
import { checkInputSize, type Params } from "./params.ts";
import { RunningTurn, userMessage } from "./running-turn.ts";
import { textOf } from "./script.ts";
import type { Item, ThreadFacts } from "./shapes.ts";
import { openedThread, turnView, uuidv7 } from "./shapes.ts";
import type { Thread, Threads } from "./threads.ts";
import { Refusal, type Wire } from "./wire.ts";

type Given<Name extends keyof typeof Params> = z.infer<(typeof Params)[Name]>;

const PREVIEW_CHARACTERS = 200;

/** What the methods do. One per process. */
export class EchoService {
  readonly asks: Asks;
  readonly threads: Threads;
  /** Where the agent lives; the folder of a thread that names none. */
  readonly home: string;
  readonly #wire: Wire;
  readonly #running = new Map<RunningTurn, Promise<void>>();

  constructor(wire: Wire, threads: Threads, home: string) {
    this.asks = new Asks(wire);
    this.threads = threads;
    this.#wire = wire;
    this.home = home;
  }

  startThread({ cwd, approvalPolicy, sandbox }: Given<"threadStart">): object {
    const now = Date.now();
    const facts: ThreadFacts = {
      id: uuidv7(now),
      cwd: cwd ?? this.home,
      approvalPolicy: approvalPolicy ?? "never",
      sandbox: sandbox ?? "read-only",
      preview: "",
      name: null,
      archived: false,
      createdAtMs: now,
      updatedAtMs: now,
    };
    const thread = this.threads.add(facts);
    this.#wire.notify("thread/started", { thread: thread.view() });
    return openedThread(facts, thread.view());
  }

  async resumeThread({ threadId, excludeTurns, ...policy }: Given<"threadResume">) {
    const thread = this.threads.get(threadId);
    if (!thread || !(thread.stored || thread.loaded)) throw noRollout(threadId);
    thread.loaded = true;
    setPolicy(thread.facts, policy);
    if (policy.sandbox) thread.facts.sandbox = policy.sandbox;
    const turns = excludeTurns ? [] : await thread.turns();
    const views = turns.map((turn) => turnView(turn, "full"));
    // After the answer, so that the client knows the thread when the question comes.
    setImmediate(() => this.asks.repeat(threadId));
    return openedThread(thread.facts, thread.view(views));
  }

  /** A thread that can be read, loaded or not. */
  readable(threadId: string): Thread {
    const thread = this.threads.get(threadId);
    if (!thread) throw new Refusal(`thread not loaded: ${threadId}`);
    return thread;
  }

  async startTurn({ threadId, input, clientUserMessageId, ...policy }: Given<"turnStart">) {
    const thread = this.threads.get(threadId);
    if (!thread?.loaded) throw new Refusal(`thread not found: ${threadId}`);
    checkInputSize(input);
    setPolicy(thread.facts, policy);
    const message = userMessage(input, clientUserMessageId ?? null);
    const active = thread.active;
    if (active?.steer(message)) return this.#joined(thread, active, message);
    if (active) await this.#running.get(active);
    return this.#newTurn(thread, message, textOf(input));
  }

  async steerTurn({ threadId, expectedTurnId, input, clientUserMessageId }: Given<"turnSteer">) {
    const active = this.#activeTurn(threadId, expectedTurnId, "steer");
    checkInputSize(input);
    const message = userMessage(input, clientUserMessageId ?? null);
    if (!active.steer(message)) throw new Refusal("no active turn to steer");
    await this.#joined(this.readable(threadId), active, message);
    return { turnId: active.turn.id };
  }

  interruptTurn({ threadId, turnId }: Given<"turnInterrupt">): object {
    this.#activeTurn(threadId, turnId, "interrupt").interrupt();
    return {};
  }

  async nameThread({ threadId, name }: Given<"threadName">): Promise<object> {
    const thread = this.threads.get(threadId);
    if (!thread) throw noRollout(threadId);
    thread.facts.name = name;
    if (thread.stored) await thread.append({ record: "facts", name });
    this.#wire.notify("thread/name/updated", { threadId, threadName: name });
    return {};
  }

  /** A running turn is interrupted first. */
  async archiveThread(threadId: string, archived: boolean): Promise<object> {
    const thread = this.threads.get(threadId);
    if (!thread?.stored) throw noRollout(threadId);
    const active = thread.active;
    active?.interrupt();
    if (active) await this.#running.get(active);
    thread.facts.archived = archived;
    thread.loaded = false;
    await thread.append({ record: "facts", archived });
    this.#wire.notify(archived ? "thread/archived" : "thread/unarchived", { threadId });
    return {};
  }

  /** Ends all turns without a word; resolves when nothing runs. */
  async close(): Promise<void> {
    for (const turn of this.#running.keys()) turn.abandon();
    await Promise.all(this.#running.values());
  }

  #activeTurn(threadId: string, turnId: string, verb: string): RunningTurn {
    const active = this.threads.get(threadId)?.active;
    if (!active) throw new Refusal(`no active turn to ${verb}`);
    const found = active.turn.id;
    if (found !== turnId) {
      throw new Refusal(`expected active turn id \`${turnId}\` but found \`${found}\``);
    }
    return active;
  }

  async #joined(thread: Thread, active: RunningTurn, item: Item): Promise<object> {
    await thread.append({ record: "item", turnId: active.turn.id, item });
    return { turn: turnView(active.turn, "notLoaded") };
  }

  /** Durable before it is answered: an accepted turn is in the history of the next process. */
  async #newTurn(thread: Thread, message: Item, text: string): Promise<object> {
    const turn = new RunningTurn({ thread, wire: this.#wire, asks: this.asks }, message);
    const { facts } = thread;
    const { id: turnId, startedAtMs: atMs } = turn.turn;
    if (!thread.stored) facts.preview = text.slice(0, PREVIEW_CHARACTERS).toWellFormed();
    await thread.append(
      ...(thread.stored ? [] : [{ record: "thread", thread: facts } as const]),
      { record: "turn", turnId, atMs },
      { record: "item", turnId, item: message },
    );
    thread.stored = true;
    thread.active = turn;
    facts.updatedAtMs = atMs;
    const answer = { turn: { ...turnView(turn.turn, "notLoaded"), startedAt: null } };
    this.#run(turn, thread);
    return answer;
  }

  #run(turn: RunningTurn, thread: Thread): void {
    // Begins after the answer to turn/start was written.
    const ended = immediate()
      .then(() => turn.run())
      .catch((error: unknown) => this.#wire.notify("warning", { message: String(error) }))
      .finally(() => {
        this.#running.delete(turn);
        if (thread.active === turn) thread.active = undefined;
      });
    this.#running.set(turn, ended);
  }
}

function setPolicy(
  facts: ThreadFacts,
  given: { cwd?: string | null | undefined; approvalPolicy?: string | null | undefined },
): void {
  facts.cwd = given.cwd ?? facts.cwd;
  facts.approvalPolicy = given.approvalPolicy ?? facts.approvalPolicy;
}

const noRollout = (threadId: string) => new Refusal(`no rollout found for thread id ${threadId}`);
