import { open } from "node:fs/promises";

/** The last `maxBytes` of the first `size` bytes of a file as text; a character that begins before them is left out (C26). */
export async function textTail(path: string, size: number, maxBytes: number): Promise<string> {
  const from = Math.max(0, size - maxBytes);
  const bytes = await readRange(path, from, size - from);
  return bytes.subarray(from > 0 ? brokenBytes(bytes) : 0).toString("utf8");
}

/** Up to `length` bytes from `offset`. */
export async function readRange(path: string, offset: number, length: number): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const buffer = Buffer.alloc(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  } finally {
    await file.close();
  }
}

/** How many bytes at the start continue a character that began earlier: at most three in UTF-8. */
export function brokenBytes(bytes: Buffer): number {
  let count = 0;
  while (count < 3 && ((bytes[count] ?? 0) & 0xc0) === 0x80) count++;
  return count;
}
