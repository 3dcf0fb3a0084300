import { mask as nativeMask } from "bufferutil";

/** RFC 6455 §5.2, server side: what a server writes, and the header and mask of what a client wrote. */
export const OPCODE = {
  continuation: 0,
  text: 1,
  binary: 2,
  close: 8,
  ping: 9,
  pong: 10,
} as const;

/** Longest header that a client may send: 2 bytes, 8 of length, 4 of mask. */
export const MAX_HEADER_BYTES = 14;
const FIN = 0x80;
const MASKED = 0x80;
/** A close frame's payload is at most 125 bytes, 2 of them the code. */
const MAX_REASON_BYTES = 123;
/** Below this a plain loop beats the call into native code. */
const NATIVE_MASK_BYTES = 192;

/** Bytes of the header that a server puts before `length` bytes of payload. */
export function headerBytes(length: number): number {
  if (length < 126) return 2;
  return length < 65_536 ? 4 : 10;
}

/** Writes a final, unmasked frame's header at `at`; returns the offset behind it. */
export function writeHeader(target: Buffer, at: number, opcode: number, length: number): number {
  target[at] = FIN | opcode;
  if (length < 126) {
    target[at + 1] = length;
    return at + 2;
  }
  if (length < 65_536) {
    target[at + 1] = 126;
    target[at + 2] = length >>> 8;
    target[at + 3] = length & 255;
    return at + 4;
  }
  target[at + 1] = 127;
  target.writeUInt32BE(Math.floor(length / 2 ** 32), at + 2);
  target.writeUInt32BE(length % 2 ** 32, at + 6);
  return at + 10;
}

/** Header and payload in one buffer. */
export function encodeFrame(opcode: number, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes(payload.length) + payload.length);
  payload.copy(frame, writeHeader(frame, 0, opcode, payload.length));
  return frame;
}

export function textFrame(text: string): Buffer {
  return encodeFrame(OPCODE.text, Buffer.from(text));
}

/** A close frame; a reason that is too long is cut at a character border. */
export function closeFrame(code: number, reason: string): Buffer {
  const payload = Buffer.alloc(2 + MAX_REASON_BYTES);
  payload.writeUInt16BE(code, 0);
  // Buffer.write never writes half a character.
  const written = payload.write(reason, 2, MAX_REASON_BYTES, "utf8");
  return encodeFrame(OPCODE.close, payload.subarray(0, 2 + written));
}

/** A violation of the protocol: close with this code and reason. */
export interface Violation {
  code: number;
  reason: string;
}

/** A client frame's header. `bytes` is its own length, `length` that of its payload. */
export interface Header {
  bytes: number;
  final: boolean;
  opcode: number;
  length: number;
}

/** Bytes that the header at `at` takes, judged by its first two bytes. */
export function clientHeaderBytes(buffer: Buffer, at: number): number {
  const short = (buffer[at + 1] ?? 0) & 0x7f;
  if (short < 126) return 6;
  return short === 126 ? 8 : MAX_HEADER_BYTES;
}

/** Reads the complete header at `at` into `header` (reused, so that a small frame allocates nothing). */
export function readClientHeader(
  buffer: Buffer,
  at: number,
  header: Header,
): Violation | undefined {
  const first = buffer[at] ?? 0;
  const second = buffer[at + 1] ?? 0;
  if ((first & 0x70) !== 0) return { code: 1002, reason: "Reserved bits must be clear" };
  if ((second & MASKED) === 0) return { code: 1002, reason: "Client frames must be masked" };
  header.final = (first & FIN) !== 0;
  header.opcode = first & 0x0f;
  header.bytes = clientHeaderBytes(buffer, at);
  header.length = payloadLength(buffer, at);
  return header.opcode >= OPCODE.close ? controlViolation(header) : undefined;
}

function payloadLength(buffer: Buffer, at: number): number {
  const short = (buffer[at + 1] ?? 0) & 0x7f;
  if (short < 126) return short;
  if (short === 126) return buffer.readUInt16BE(at + 2);
  return buffer.readUInt32BE(at + 2) * 2 ** 32 + buffer.readUInt32BE(at + 6);
}

function controlViolation(header: Header): Violation | undefined {
  if (header.opcode > OPCODE.pong) return { code: 1002, reason: "Unknown opcode" };
  if (!header.final || header.length > 125) {
    return { code: 1002, reason: "Control frames are short and whole" };
  }
  return undefined;
}

/** A stretch of masked bytes: `from[at, at + length)`, `phase` bytes (mod 4) into its payload. */
export interface Stretch {
  from: Buffer;
  at: number;
  length: number;
  phase: number;
}

const scratch = Buffer.alloc(4);

/** Unmasks a stretch into `target` at `offset`; the two may overlap when the target lies lower. */
export function unmaskInto(target: Buffer, offset: number, stretch: Stretch, key: Buffer): void {
  const { from, at, length, phase } = stretch;
  if (length < NATIVE_MASK_BYTES) {
    unmaskShort(target, offset, stretch, key);
    return;
  }
  for (let index = 0; index < 4; index += 1) scratch[index] = key[(index + phase) & 3] ?? 0;
  nativeMask(from.subarray(at, at + length), scratch, target, offset, length);
}

function unmaskShort(target: Buffer, offset: number, stretch: Stretch, key: Buffer): void {
  const { from, at, length, phase } = stretch;
  const whole = unmaskFours(target, offset, stretch, key);
  for (let index = whole; index < length; index += 1) {
    target[offset + index] = (from[at + index] ?? 0) ^ (key[(index + phase) & 3] ?? 0);
  }
}

/** Four bytes a round, so that the key stays in registers; returns how many are done. */
function unmaskFours(target: Buffer, offset: number, stretch: Stretch, key: Buffer): number {
  const { from, at, length, phase } = stretch;
  const k0 = key[phase & 3] ?? 0;
  const k1 = key[(phase + 1) & 3] ?? 0;
  const k2 = key[(phase + 2) & 3] ?? 0;
  const k3 = key[(phase + 3) & 3] ?? 0;
  let index = 0;
  for (const whole = length - 3; index < whole; index += 4) {
    const source = at + index;
    const place = offset + index;
    target[place] = (from[source] ?? 0) ^ k0;
    target[place + 1] = (from[source + 1] ?? 0) ^ k1;
    target[place + 2] = (from[source + 2] ?? 0) ^ k2;
    target[place + 3] = (from[source + 3] ?? 0) ^ k3;
  }
  return index;
}
