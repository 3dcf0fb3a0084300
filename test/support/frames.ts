import { headerBytes, writeHeader } from "#lib/frames.ts";

/** A frame as a client writes it: masked, and not the last of its message when `final` is false. */
export function clientFrame(
  opcode: number,
  payload: Buffer,
  options: { mask?: Buffer; final?: boolean } = {},
): Buffer {
  const mask = options.mask ?? Buffer.from([0x11, 0x22, 0x33, 0x44]);
  const header = Buffer.alloc(headerBytes(payload.length));
  writeHeader(header, 0, opcode, payload.length);
  if (options.final === false) header[0] = opcode;
  header[1] = (header[1] ?? 0) | 0x80;
  const masked = Buffer.from(payload.map((byte, index) => byte ^ (mask[index & 3] ?? 0)));
  return Buffer.concat([header, mask, masked]);
}

/** `bytes` cut into chunks of these sizes, used in turn. */
export function* chunksOf(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** Reads a server's frames: complete ones from `bytes`, and what is left. */
export function serverFrames(bytes: Buffer): {
  frames: { opcode: number; payload: Buffer }[];
  rest: Buffer;
} {
  const frames: { opcode: number; payload: Buffer }[] = [];
  let at = 0;
  while (bytes.length - at >= 2) {
    const short = bytes[at + 1] ?? 0;
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length - at < header) break;
    const length =
      short < 126
        ? short
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2));
    if (bytes.length - at < header + length) break;
    frames.push({
      opcode: (bytes[at] ?? 0) & 15,
      payload: bytes.subarray(at + header, at + header + length),
    });
    at += header + length;
  }
  return { frames, rest: bytes.subarray(at) };
}
