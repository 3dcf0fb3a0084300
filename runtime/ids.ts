import { type Range, splice, splicePieces } from "#lib/scan.ts";

/** Nothing but digits: the only form in which our own numbers come back. */
const NUMBER = /^\d{1,16}$/;

/** A line that is ready for the other side, as pieces to be written in order, and whom it belongs to. */
export interface Returned<Asker> {
  asker: Asker;
  pieces: Buffer[];
}

/** Requests on their way to the app-server: each gets a fresh number, its answer gets the asker's own id back, byte for byte. */
export class RequestIds<Asker> {
  readonly #open = new Map<number, { asker: Asker; id: Buffer }>();
  #next = 1;

  /** How many wait for an answer. */
  get size(): number {
    return this.#open.size;
  }

  /** The line with its number, as pieces to be written in order. */
  forward(line: Buffer, at: Range, asker: Asker): { id: number; pieces: Buffer[] } {
    const id = this.#next;
    this.#next += 1;
    // A copy: the line belongs to a chunk that must not live as long as the request.
    this.#open.set(id, { asker, id: Buffer.from(line.subarray(at.start, at.end)) });
    return { id, pieces: splicePieces(line, at, numberBytes(id)) };
  }

  /** Undefined for an answer that nobody waits for; an id answers once. */
  answer(line: Buffer, at: Range): Returned<Asker> | undefined {
    const id = numberAt(line, at);
    const open = this.#open.get(id);
    if (!open) return undefined;
    this.#open.delete(id);
    return { asker: open.asker, pieces: splicePieces(line, at, open.id) };
  }

  /** A late answer to it is dropped. */
  forget(id: number): void {
    this.#open.delete(id);
  }
}

/**
 * Requests of the app-server: numbers from `first` on, never used twice in a boot, in place of its own ids, which start at 0
 * in each process. The peer's answer gets the app-server's id back.
 */
export class ServerRequestIds {
  readonly #own = new Map<string, number>();
  readonly #upstream = new Map<number, Buffer>();
  #next: number;

  constructor(first: number) {
    this.#next = first;
  }

  /** `repeated` = the same process sent this id before and it is still open: the number is the one it got then. */
  offer(line: Buffer, at: Range): { id: number; line: Buffer; repeated: boolean } {
    const upstream = Buffer.from(line.subarray(at.start, at.end));
    const known = this.#own.get(upstream.toString("latin1"));
    const id = known ?? this.#next;
    if (known === undefined) {
      this.#next += 1;
      this.#own.set(upstream.toString("latin1"), id);
      this.#upstream.set(id, upstream);
    }
    return { id, line: splice(line, at, numberBytes(id)), repeated: known !== undefined };
  }

  /** Undefined when no request with this number is open. The number stays known until it is resolved. */
  answer(line: Buffer, at: Range): { id: number; line: Buffer } | undefined {
    const id = numberAt(line, at);
    const upstream = this.#upstream.get(id);
    if (!upstream) return undefined;
    return { id, line: splice(line, at, upstream) };
  }

  /** `at` holds the app-server's id of a request that is over; the line says its number instead. Undefined when unknown. */
  resolve(line: Buffer, at: Range): { id: number; line: Buffer } | undefined {
    const upstream = line.toString("latin1", at.start, at.end);
    const id = this.#own.get(upstream);
    if (id === undefined) return undefined;
    this.#own.delete(upstream);
    this.#upstream.delete(id);
    return { id, line: splice(line, at, numberBytes(id)) };
  }

  /** Its answer was given long ago and no end was told: a runtime may never tell one. */
  forget(id: number): void {
    const upstream = this.#upstream.get(id);
    if (!upstream) return;
    this.#upstream.delete(id);
    this.#own.delete(upstream.toString("latin1"));
  }

  /** The process ended: its ids mean nothing any more, the next one starts at 0 again. */
  reset(): void {
    this.#own.clear();
    this.#upstream.clear();
  }

  /** Numbers that are still known. */
  get size(): number {
    return this.#upstream.size;
  }
}

function numberBytes(id: number): Buffer {
  return Buffer.from(String(id), "latin1");
}

/** NaN when the value is no number of ours. */
function numberAt(line: Buffer, { start, end }: Range): number {
  const text = line.toString("latin1", start, end);
  return NUMBER.test(text) ? Number(text) : Number.NaN;
}
