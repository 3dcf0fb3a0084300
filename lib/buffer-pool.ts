/**
 * Buffers of one size that are used again. A flood would else allocate one per read, and the collector, which counts
 * them as its own, would stop everybody for each hundred.
 */
export class BufferPool {
  readonly #bytes: number;
  readonly #max: number;
  readonly #free: Buffer[] = [];

  /** At most `max` unused ones are kept. */
  constructor(bytes: number, max: number) {
    this.#bytes = bytes;
    this.#max = max;
  }

  /** Its content is whatever it held before. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }

  /** Takes back the buffer that `part` is a part of, if it is one of ours; nobody may use it any more. */
  give(part: Buffer): void {
    const whole = part.buffer;
    if (whole.byteLength !== this.#bytes || this.#free.length >= this.#max) return;
    this.#free.push(Buffer.from(whole, 0, this.#bytes));
  }
}

const GRAIN_BYTES = 64 * 1024;
/** A buffer more than this much larger than what is needed stays for somebody who needs it. */
const MAX_WASTE = 4;

/** The same for single large messages of any size; keeps at most `maxBytes` unused. */
export class LargeBuffers {
  readonly #maxBytes: number;
  #free: Buffer[] = [];
  #freeBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** At least `bytes` long. */
  take(bytes: number): Buffer {
    const most = Math.max(bytes * MAX_WASTE, GRAIN_BYTES);
    const fits = ({ length }: Buffer) => length >= bytes && length <= most;
    const index = this.#free.findIndex(fits);
    const [found] = index < 0 ? [] : this.#free.splice(index, 1);
    if (!found) return Buffer.allocUnsafeSlow(Math.ceil(bytes / GRAIN_BYTES) * GRAIN_BYTES);
    this.#freeBytes -= found.length;
    return found;
  }

  /** Takes back a whole buffer from `take`; nobody may use it any more. */
  give(buffer: Buffer): void {
    if (this.#freeBytes + buffer.length > this.#maxBytes) return;
    this.#free.push(buffer);
    this.#freeBytes += buffer.length;
  }
}
