/** Bytes of notifications that a returning peer can still get. */
export const RING_BYTES = 8 * 1024 * 1024;
/** Most sessions never need all of it. */
const FIRST_BYTES = 64 * 1024;
/** Dead slots at the front of the array before it is cut. */
const COMPACT_AT = 4096;

export interface Replay {
  /** Notifications `from..to`, inclusive, that are not held any more. */
  gap?: { from: number; to: number };
  lines: Buffer[];
}

/**
 * The last notifications of one boot, numbered from 1, bounded in bytes: the oldest leave first. Their bytes are copied
 * into one buffer that goes round: ten thousands of short lines would else be as many objects for the collector.
 */
export class Ring {
  readonly #maxBytes: number;
  #buffer: Buffer;
  /** Where each line ends, counted in bytes since the first one. */
  #ends: number[] = [];
  /** Index of the oldest line that is held. */
  #head = 0;
  /** Where the oldest line that is held begins. */
  #start = 0;
  #end = 0;
  #seq = 0;

  constructor(maxBytes = RING_BYTES) {
    this.#maxBytes = maxBytes;
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(FIRST_BYTES, maxBytes));
  }

  /** Number of the last notification; 0 = none yet. */
  get seq(): number {
    return this.#seq;
  }

  /** Keeps a copy of the line of notification `seq + 1`. */
  push(line: Buffer): void {
    this.#seq += 1;
    while (this.#end - this.#start + line.length > this.#maxBytes && this.#held > 0) {
      this.#dropOldest();
    }
    if (line.length > this.#maxBytes) return;
    this.#makeRoom(line.length);
    this.#write(line);
    this.#ends.push(this.#end);
    if (this.#head > COMPACT_AT && this.#head * 2 > this.#ends.length) {
      this.#ends = this.#ends.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Everything after notification `after`; what is lost of it is named as a gap. `after` beyond the last = nothing. */
  replay(after: number): Replay {
    const oldest = this.#seq - this.#held + 1;
    const from = Math.max(after + 1, oldest);
    const lines: Buffer[] = [];
    for (let index = this.#head + from - oldest; index < this.#ends.length; index += 1) {
      lines.push(this.#read(this.#startOf(index), this.#ends[index] ?? 0));
    }
    return after + 1 < from ? { gap: { from: after + 1, to: from - 1 }, lines } : { lines };
  }

  get #held(): number {
    return this.#ends.length - this.#head;
  }

  #startOf(index: number): number {
    return index === this.#head ? this.#start : (this.#ends[index - 1] ?? 0);
  }

  #dropOldest(): void {
    this.#start = this.#ends[this.#head] ?? this.#end;
    this.#head += 1;
  }

  /** Doubles the buffer up to the bound; positions keep their meaning, so what is held is written anew. */
  #makeRoom(bytes: number): void {
    const needed = this.#end - this.#start + bytes;
    if (needed <= this.#buffer.length) return;
    const held = this.#read(this.#start, this.#end);
    const size = Math.min(this.#maxBytes, Math.max(needed, this.#buffer.length * 2));
    this.#buffer = Buffer.allocUnsafeSlow(size);
    this.#end = this.#start;
    this.#write(held);
  }

  /** At `#end`, round the corner if it must. */
  #write(bytes: Buffer): void {
    const at = this.#end % this.#buffer.length;
    const first = Math.min(bytes.length, this.#buffer.length - at);
    bytes.copy(this.#buffer, at, 0, first);
    bytes.copy(this.#buffer, 0, first);
    this.#end += bytes.length;
  }

  #read(start: number, end: number): Buffer {
    const at = start % this.#buffer.length;
    const first = Math.min(end - start, this.#buffer.length - at);
    const bytes = Buffer.allocUnsafe(end - start);
    this.#buffer.copy(bytes, 0, at, at + first);
    this.#buffer.copy(bytes, first, 0, end - start - first);
    return bytes;
  }
}
