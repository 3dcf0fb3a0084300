/** Bytes of notifications that a returning peer can still get. */
export const RING_BYTES = 8 * 1024 * 1024;
/** Dead slots at the front of the array before it is cut. */
const COMPACT_AT = 4096;

export interface Replay {
  /** Notifications `from..to`, inclusive, that are not held any more. */
  gap?: { from: number; to: number };
  lines: Buffer[];
}

/** The last notifications of one boot, numbered from 1, bounded in bytes: the oldest leave first. */
export class Ring {
  readonly #maxBytes: number;
  #lines: Buffer[] = [];
  /** Index of the oldest line that is held. */
  #head = 0;
  #bytes = 0;
  #seq = 0;

  constructor(maxBytes = RING_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Number of the last notification; 0 = none yet. */
  get seq(): number {
    return this.#seq;
  }

  /** Keeps the line of notification `seq + 1`. */
  push(line: Buffer): void {
    this.#seq += 1;
    this.#lines.push(line);
    this.#bytes += line.length;
    while (this.#bytes > this.#maxBytes) this.#dropOldest();
    if (this.#head > COMPACT_AT && this.#head * 2 > this.#lines.length) {
      this.#lines = this.#lines.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Everything after notification `after`; what is lost of it is named as a gap. `after` beyond the last = nothing. */
  replay(after: number): Replay {
    const held = this.#lines.length - this.#head;
    const oldest = this.#seq - held + 1;
    const from = Math.max(after + 1, oldest);
    const lines = this.#lines.slice(this.#head + from - oldest);
    return after + 1 < from ? { gap: { from: after + 1, to: from - 1 }, lines } : { lines };
  }

  #dropOldest(): void {
    const oldest = this.#lines[this.#head];
    this.#bytes -= oldest?.length ?? 0;
    this.#lines[this.#head] = EMPTY;
    this.#head += 1;
  }
}

const EMPTY = Buffer.alloc(0);
