import type { Worker } from "node:worker_threads";
import { ArgusError } from "#lib/errors.ts";
import type { Changes, Operation, Outcome, PlainError, StoreRequest } from "./protocol.ts";
import { UnreadableDocument } from "./unreadable.ts";

/** Requests that may wait for the disk at once. */
const MAX_PENDING = 10_000;
/** So many changes leave before all who are being answered have spoken again. */
const EARLY_CHANGES = 32;
/** Of those who wait for one sync so many go on in one turn of the event loop: sockets have their turn in between. */
const ANSWERS_PER_TURN = 4;

interface Waiter {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** What a waiter will be told; `place` = among the changes that left together. */
interface Answer {
  waiter: Waiter;
  outcome: Outcome;
  place: number;
}

/** Changes that leave together. */
interface Group {
  id: number;
  uids: string[];
  expected: number[];
  texts: string[];
  lengths: number[];
  whole: number[];
}

/** JSON of a change, its length in UTF-8, and whether it sets the document as a whole. */
export interface ChangeText {
  text: string;
  bytes: number;
  whole: boolean;
}

/** The requests to the worker thread and who waits for them. Those of one turn of the event loop leave together, in their order. */
export class Requests {
  readonly #worker: Worker;
  /** By the id of a request; of a group of changes one for each. */
  readonly #waiters = new Map<number, Waiter[]>();
  #pending = 0;
  #nextId = 1;
  #outgoing: StoreRequest[] = [];
  #group: Group | undefined;
  #scheduled = false;
  #error: Error | undefined;
  /** Who is to be told its outcome, in their order. */
  #answers: Answer[] = [];

  constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Resolves to what the worker answers. */
  ask(operation: Operation): Promise<unknown> {
    const { promise, ...waiter } = Promise.withResolvers<unknown>();
    const id = this.#admit(waiter);
    if (id === undefined) return promise;
    this.#closeGroup();
    this.#outgoing.push({ id, ...operation });
    return promise;
  }

  /** Resolves when the change is durable. */
  change(uid: string, expected: number, change: ChangeText): Promise<unknown> {
    const { promise, ...waiter } = Promise.withResolvers<unknown>();
    const id = this.#admit(waiter, this.#group?.id);
    if (id === undefined) return promise;
    this.#group ??= { id, uids: [], expected: [], texts: [], lengths: [], whole: [] };
    if (change.whole) this.#group.whole.push(this.#group.uids.length);
    this.#group.uids.push(uid);
    this.#group.expected.push(expected);
    this.#group.texts.push(change.text);
    this.#group.lengths.push(change.bytes);
    // The first ones reach the disk while this thread still makes the others.
    if (this.#group.lengths.length >= EARLY_CHANGES) this.#send();
    return promise;
  }

  settle(outcome: Outcome): void {
    const waiters = this.#waiters.get(outcome.id) ?? [];
    this.#waiters.delete(outcome.id);
    this.#pending -= waiters.length;
    if (this.#answers.length === 0) setImmediate(() => this.#answer());
    for (let place = 0; place < waiters.length; place += 1) {
      const waiter = waiters[place];
      if (waiter) this.#answers.push({ waiter, outcome, place });
    }
  }

  #answer(): void {
    const some = this.#answers.splice(0, ANSWERS_PER_TURN);
    if (this.#answers.length > 0) setImmediate(() => this.#answer());
    for (const answer of some) give(answer);
  }

  /** Everybody who waits or will ask gets this error. */
  fail(error: Error): void {
    this.#error ??= error;
    for (const waiter of [...this.#waiters.values()].flat()) waiter.reject(this.#error);
    this.#waiters.clear();
  }

  /** The id under which the waiter is kept; undefined when it was rejected. */
  #admit(waiter: Waiter, group?: number): number | undefined {
    const full = this.#pending >= MAX_PENDING;
    const refusal = this.#error ?? (full ? tooMany() : undefined);
    if (refusal) {
      waiter.reject(refusal);
      return undefined;
    }
    if (!this.#scheduled) setImmediate(() => this.#sendSoon());
    this.#scheduled = true;
    this.#pending += 1;
    const id = group ?? this.#nextId++;
    const waiters = this.#waiters.get(id);
    if (waiters) waiters.push(waiter);
    else this.#waiters.set(id, [waiter]);
    return id;
  }

  #closeGroup(): void {
    if (!this.#group) return;
    this.#outgoing.push(changesOf(this.#group));
    this.#group = undefined;
  }

  /** Those who are being answered mostly have more to write. */
  #sendSoon(): void {
    if (this.#answers.length > 0) setImmediate(() => this.#sendSoon());
    else this.#send();
  }

  #send(): void {
    this.#scheduled = false;
    this.#closeGroup();
    const requests = this.#outgoing;
    if (requests.length === 0) return;
    this.#outgoing = [];
    const handedOver = requests.flatMap((each) =>
      each.op === "changes" ? [each.bytes.buffer] : [],
    );
    this.#worker.postMessage(requests, handedOver as ArrayBuffer[]);
  }
}

function changesOf({ id, texts, ...group }: Group): { id: number } & Changes {
  const total = group.lengths.reduce((sum, length) => sum + length, 0);
  // Not from the pool: the memory leaves this thread.
  const bytes = Buffer.allocUnsafeSlow(total);
  let at = 0;
  for (const text of texts) at += bytes.write(text, at);
  return { id, op: "changes", ...group, bytes };
}

function give({ waiter, outcome, place }: Answer): void {
  const error = "error" in outcome ? outcome.error : refusalOf(outcome, place);
  if (error) waiter.reject(thrown(error));
  else waiter.resolve("value" in outcome ? outcome.value : undefined);
}

function refusalOf(outcome: Outcome, place: number): PlainError | undefined {
  return "refused" in outcome
    ? outcome.refused.find(([refused]) => refused === place)?.[1]
    : undefined;
}

function tooMany(): ArgusError {
  return new ArgusError("Busy", "Too many writes wait for the disk.");
}

function thrown({ code, message, facts, reason }: PlainError): ArgusError {
  return reason
    ? new UnreadableDocument(reason, message, facts)
    : new ArgusError(code, message, facts);
}
