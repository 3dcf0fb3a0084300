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
