import { monotonicMs } from "#lib/clock.ts";
import type { Logger } from "#lib/logger.ts";
import { RPC_ERROR, type RpcError } from "#protocol/envelope.ts";
import { actsOnWorld } from "#protocol/turn-items.ts";
import type { Journal } from "./journal.ts";
import {
  answerOf,
  endOf,
  keepable,
  LEDGER_OPEN,
  LEDGER_RESULT_BYTES,
  type Ledger,
  type LedgerEntry,
} from "./ledger.ts";
import type { Peer } from "./peer.ts";
import type { Asker } from "./request.ts";
import { errorLine, RpcFailure, resultLine } from "./rpc.ts";

/** Repeats of one input that wait for the answer of the first. */
const MAX_WAITERS = 16;
const MAX_ENDED = 32;
const WAIT_MS = 120_000;

interface Waiter extends Asker {
  deadline: number;
}

interface EndedTurn {
  id: string;
  status?: unknown;
}

interface Live {
  waiters: Waiter[];
}

export interface InputsOptions {
  ledger: Ledger;
  journal: Journal;
  tell: (peer: Peer, line: Buffer) => void;
  logger: Logger;
}

/** What to do with a request that names an input: it is new, or the ledger answers it. */
export type Repeat = { kind: "new" } | { kind: "answered" } | { kind: "refused"; error: RpcError };

/** The ledger at work: each input starts at most one turn, a repeat gets the turn that it started. */
export class Inputs {
  readonly #options: InputsOptions;
  /** Forwarded to the process that runs now. */
  readonly #live = new Map<string, Live>();

  /** The last turns that ended: the answer that names a turn may come after its end. */
  readonly #ended = new Map<string, EndedTurn>();

  constructor(options: InputsOptions) {
    this.#options = options;
  }

  isLive(input: string): boolean {
    return this.#live.has(input);
  }

  /** Whether the ledger has it, so that it is no new input whatever becomes of the request. */
  knows(input: string): boolean {
    return this.#options.ledger.get(input) !== undefined;
  }

  /** Neither a running process nor history can change what became of it. */
  isSettled(input: string): boolean {
    const state = this.#options.ledger.get(input)?.state ?? "open";
    return state !== "open";
  }

  /** Answers a repeat as soon as its outcome is known. Call it after the thread was settled. */
  repeat({ peer, id, method }: Asker, input: string, threadId: string): Repeat {
    const entry = this.#options.ledger.get(input);
    if (!entry) return { kind: "new" };
    if (entry.thread !== threadId)
      return refused(`input ${input} was sent to thread ${entry.thread} before`, "conflict");
    const answer = answerOf(method, entry);
    if (answer) {
      this.#options.tell(peer, resultLine(id, answer));
      return { kind: "answered" };
    }
    const live = this.#live.get(input);
    if (live && live.waiters.length < MAX_WAITERS) {
      live.waiters.push({ peer, id, method, deadline: monotonicMs() + WAIT_MS });
      return { kind: "answered" };
    }
    if (live) return refused(`input ${input} is being started and too many wait for it`, "busy");
    if (entry.queued && entry.state === "open")
      return refused(`input ${input} waits in the thread's queue`, "open");
    return refused(
      `OutcomeUnknown: input ${input} was forwarded before the app-server ended, and this runtime keeps no history that tells whether it ran. It is not run again.`,
      "OutcomeUnknown",
    );
  }

  /** Resolves when the input is on the disk: only then may it be forwarded. Rejects when it cannot be recorded. */
  async open(input: string, threadId: string, method: string): Promise<void> {
    const { ledger, journal } = this.#options;
    const now = Date.now();
    ledger.expire(now);
    if (ledger.full) throw fullError();
    this.#live.set(input, { waiters: [] });
    const via: Pick<LedgerEntry, "via"> =
      method === "turn/steer" || method === "thread/queue/add" ? { via: method } : {};
    const line = ledger.put({ input, thread: threadId, at: now, state: "open", ...via });
    try {
      await journal.append(line, true);
    } catch (error) {
      this.neverStarted(input, {
        code: RPC_ERROR.server,
        message: "the input could not be recorded",
      });
      throw error;
    }
  }

  /** The turn that it started (or joined) is known. */
  accepted(input: string, turn: string): void {
    const entry = this.#options.ledger.get(input);
    if (!entry || entry.turn !== undefined) return;
    const known = { ...entry, turn };
    this.#record(this.#options.ledger.put(known));
    this.#answerKnown(input);
    const ended = this.#ended.get(turn);
    if (ended) this.turnCompleted(ended);
  }

  /** It waits in the thread's queue; its turn comes later. */
  queued(input: string, submission: object): void {
    const entry = this.#options.ledger.get(input);
    if (!entry || entry.queued !== undefined) return;
    const small = JSON.stringify(submission).length <= LEDGER_RESULT_BYTES;
    const queued = small ? submission : { ...submission, input: [] };
    this.#record(this.#options.ledger.put({ ...entry, queued }));
    this.#answerKnown(input);
  }

  /** The app-server refused it, or it was never forwarded: a repeat is new. */
  neverStarted(input: string, error: RpcError): void {
    this.#record(this.#options.ledger.drop(input));
    this.#answer(input, (id) => errorLine(id, error));
    this.#live.delete(input);
  }

  turnCompleted(turn: EndedTurn): void {
    const { ledger } = this.#options;
    this.#ended.delete(turn.id);
    this.#ended.set(turn.id, { id: turn.id, status: turn.status });
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size > MAX_ENDED) this.#ended.delete(oldest);
    }
    for (const entry of ledger.ofTurn(turn.id)) {
      this.#record(ledger.put({ ...entry, state: endOf(turn.status), result: keepable(turn) }));
      this.#live.delete(entry.input);
    }
  }

  /**
   * An item of a turn: the user's own message tells which turn an unanswered input became, a tool that it must not rerun.
   * That mark survives the bridge's end from the moment it is written, and the node's end once its fdatasync, which starts
   * at once, is over. No line waits for it: in the milliseconds between, the history that codex keeps tells the same, and
   * the mark of a turn is on the disk before any later input is forwarded, for the journal is written in order.
   */
  itemStarted(turn: string, item: { type: string; clientId?: string | null }): void {
    const { ledger } = this.#options;
    if (item.type === "userMessage" && item.clientId && this.#isForwarded(item.clientId))
      this.accepted(item.clientId, turn);
    if (!actsOnWorld(item.type)) return;
    for (const entry of ledger.ofTurn(turn)) {
      if (!entry.ran) this.#record(ledger.put({ ...entry, ran: true }), true);
    }
  }

  /** The process ended: history decides about what is open. */
  processEnded(error: RpcError): void {
    for (const input of this.#live.keys()) this.#answer(input, (id) => errorLine(id, error));
    this.#live.clear();
  }

  leave(peer: Peer): void {
    for (const live of this.#live.values()) {
      live.waiters = live.waiters.filter((waiter) => waiter.peer !== peer);
    }
  }

  sweep(now: number): void {
    for (const [input, live] of this.#live) {
      const late = live.waiters.filter(({ deadline }) => deadline <= now);
      live.waiters = live.waiters.filter(({ deadline }) => deadline > now);
      const message = `input ${input} was forwarded and the app-server has not answered yet; repeat it later`;
      for (const { peer, id } of late) {
        this.#options.tell(
          peer,
          errorLine(id, { code: RPC_ERROR.server, message, data: { reason: "open" } }),
        );
      }
    }
  }

  #isForwarded(input: string): boolean {
    return this.#live.has(input) || this.#options.ledger.get(input)?.queued !== undefined;
  }

  /** Answers those waiters whose answer is known by now; the others wait on. */
  #answerKnown(input: string): void {
    const { ledger, tell } = this.#options;
    const [live, entry] = [this.#live.get(input), ledger.get(input)];
    if (!live || !entry) return;
    live.waiters = live.waiters.filter(({ peer, id, method }) => {
      const answer = answerOf(method, entry);
      if (answer) tell(peer, resultLine(id, answer));
      return !answer;
    });
  }

  #answer(input: string, line: (id: Buffer) => Buffer): void {
    const live = this.#live.get(input);
    for (const { peer, id } of live?.waiters ?? []) this.#options.tell(peer, line(id));
    if (live) live.waiters = [];
  }

  /** Not waited for: if it is lost, history tells the same. */
  #record(line: string, durable = false): void {
    this.#options.journal.append(line, durable).catch((error: unknown) => {
      this.#options.logger.warn({ err: error }, "ledger entry was not written");
    });
  }
}

function fullError(): RpcFailure {
  const message = `The outcome of ${LEDGER_OPEN} inputs is open; nothing was started. Resume their threads, so that history decides about them.`;
  return new RpcFailure({ code: RPC_ERROR.busy, message, data: { reason: "ledgerFull" } });
}

function refused(message: string, reason: string): Repeat {
  const code = reason === "busy" ? RPC_ERROR.busy : RPC_ERROR.server;
  return { kind: "refused", error: { code, message, data: { reason } } };
}
