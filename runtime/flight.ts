import { monotonicMs } from "#lib/clock.ts";
import type { Range } from "#lib/scan.ts";
import { RPC_ERROR, type RpcError } from "#protocol/envelope.ts";
import { RequestIds } from "./ids.ts";
import type { Peer } from "./peer.ts";

/** Codex leaves requests unanswered when about 1000 are open; 500 were fine. */
export const MAX_IN_FLIGHT = 50;
/** Waiting behind them. */
export const MAX_QUEUED = 200;
export const MAX_QUEUED_BYTES = 32 * 1024 * 1024;
/** Requests whose answer legitimately takes as long as it takes; they have no timeout, so they get a bound of their own. */
export const MAX_LASTING = 20;
export const CONTROL_TIMEOUT_MS = 10_000;
export const GENERAL_TIMEOUT_MS = 120_000;

const LASTING = new Set(["command/exec", "process/exec", "account/login/start"]);
const CONTROL = new Set([
  "turn/interrupt",
  "turn/steer",
  "thread/unsubscribe",
  "thread/loaded/list",
  "thread/backgroundTerminals/list",
  "thread/backgroundTerminals/terminate",
  "command/exec/write",
  "command/exec/terminate",
  "command/exec/resize",
]);

/** A request on its way to the app-server. Exactly one of `answered` and `failed` is called, once. */
export interface Pending {
  method: string;
  /** Undefined = the bridge itself. */
  peer: Peer | undefined;
  line: Buffer;
  /** Of the id in the line. */
  at: Range;
  /** Absent = by method. */
  timeoutMs?: number;
  /** The answer line with the asker's id. */
  answered(line: Buffer): void;
  /** Instead of `answered`, for an answer whose content does not matter: a long one comes in pieces, uncopied. */
  passOn?: (pieces: Buffer[]) => void;
  /** `forwarded` = the app-server may have acted on it. */
  failed(error: RpcError, forwarded: boolean): void;
}

interface Open {
  id: number;
  pending: Pending;
  /** On the monotonic clock; Infinity = lasts. */
  deadline: number;
}

/** The requests that the app-server works on, bounded, each with a deadline, and those that wait for their turn. */
export class Flight {
  readonly #ids = new RequestIds<Open>();
  readonly #open = new Set<Open>();
  readonly #write: (pieces: readonly Buffer[]) => void;
  #queue: Pending[] = [];
  #queuedBytes = 0;
  #lasting = 0;

  /** `write` gets a line as pieces, in order. */
  constructor(write: (pieces: readonly Buffer[]) => void) {
    this.#write = write;
  }

  /** Open and waiting. */
  get size(): number {
    return this.#open.size + this.#queue.length;
  }

  /** Forwards now or when there is room; the bridge's own requests and control calls do not wait behind others. */
  send(pending: Pending): void {
    if (LASTING.has(pending.method)) this.#sendLasting(pending);
    else if (pending.peer === undefined || CONTROL.has(pending.method)) this.#forward(pending);
    else if (this.#open.size - this.#lasting < MAX_IN_FLIGHT) this.#forward(pending);
    else this.#enqueue(pending);
  }

  /** An answer of the app-server; false = nobody waits for it. */
  answer(line: Buffer, at: Range): boolean {
    const returned = this.#ids.answer(line, at);
    if (!returned) return false;
    this.#close(returned.asker);
    const { pending } = returned.asker;
    if (pending.passOn) pending.passOn(returned.pieces);
    else pending.answered(whole(returned.pieces));
    this.#pump();
    return true;
  }

  /** Ends the requests whose deadline is over. Call it at least once a second while `size` is not 0. */
  sweep(now: number): void {
    for (const open of this.#open) {
      if (open.deadline > now) continue;
      this.#ids.forget(open.id);
      this.#close(open);
      open.pending.failed(timeoutError(open.pending), true);
    }
    this.#pump();
  }

  /** The peer's connection is closed: what was not forwarded never is. */
  leave(peer: Peer): void {
    this.#dropQueued((pending) => pending.peer === peer, GONE);
  }

  /** The app-server ended: everything that waits for it gets `error`. */
  failAll(error: RpcError): void {
    const open = [...this.#open];
    for (const entry of open) {
      this.#ids.forget(entry.id);
      this.#close(entry);
    }
    this.#dropQueued(() => true, error);
    for (const { pending } of open) pending.failed(error, true);
  }

  #sendLasting(pending: Pending): void {
    if (this.#lasting < MAX_LASTING) this.#forward(pending);
    else pending.failed(tooMany(pending.method, MAX_LASTING), false);
  }

  #enqueue(pending: Pending): void {
    const bytes = this.#queuedBytes + pending.line.length;
    if (this.#queue.length >= MAX_QUEUED || bytes > MAX_QUEUED_BYTES) {
      pending.failed(tooMany(pending.method, MAX_IN_FLIGHT), false);
      return;
    }
    this.#queuedBytes = bytes;
    this.#queue.push(pending);
  }

  #forward(pending: Pending): void {
    const lasting = LASTING.has(pending.method);
    const deadline = lasting ? Number.POSITIVE_INFINITY : monotonicMs() + timeoutOf(pending);
    const open: Open = { id: 0, pending, deadline };
    const { id, pieces } = this.#ids.forward(pending.line, pending.at, open);
    open.id = id;
    // The request may be large and is not needed any more.
    pending.line = EMPTY;
    this.#open.add(open);
    if (lasting) this.#lasting += 1;
    this.#write(pieces);
  }

  #close(open: Open): void {
    if (this.#open.delete(open) && LASTING.has(open.pending.method)) this.#lasting -= 1;
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#open.size - this.#lasting < MAX_IN_FLIGHT) {
      const next = this.#queue.shift();
      if (!next) return;
      this.#queuedBytes -= next.line.length;
      this.#forward(next);
    }
  }

  #dropQueued(which: (pending: Pending) => boolean, error: RpcError): void {
    const dropped = this.#queue.filter(which);
    this.#queue = this.#queue.filter((pending) => !which(pending));
    for (const pending of dropped) {
      this.#queuedBytes -= pending.line.length;
      pending.failed(error, false);
    }
  }
}

const EMPTY = Buffer.alloc(0);

function whole(pieces: readonly Buffer[]): Buffer {
  const [first] = pieces;
  return pieces.length === 1 && first ? first : Buffer.concat(pieces);
}

const GONE: RpcError = { code: RPC_ERROR.server, message: "The connection was closed." };

function timeoutOf({ method, timeoutMs }: Pending): number {
  return timeoutMs ?? (CONTROL.has(method) ? CONTROL_TIMEOUT_MS : GENERAL_TIMEOUT_MS);
}

function timeoutError(pending: Pending): RpcError {
  const seconds = timeoutOf(pending) / 1000;
  const message = `The app-server did not answer ${pending.method} within ${seconds} s. Whether it did anything is not known.`;
  return { code: RPC_ERROR.server, message, data: { reason: "timeout", method: pending.method } };
}

function tooMany(method: string, limit: number): RpcError {
  const message = `${limit} requests are in flight and the queue behind them is full; ${method} was not forwarded. Try again later.`;
  return { code: RPC_ERROR.busy, message, data: { reason: "inFlight", limit } };
}
