declare module "bufferutil" {
  /** Writes `source` XOR `mask` (4 bytes, repeated) into `output` at `offset`. `output` may overlap at a lower address. */
  export function mask(
    source: Buffer,
    mask: Buffer,
    output: Buffer,
    offset: number,
    length: number,
  ): void;
}
