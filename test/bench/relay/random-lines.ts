/** A small deterministic generator (mulberry32): the same seed gives the same lines. */
export function randomSource(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Where a frame's length takes another form, a mask or header fills a word, or a buffer ends. */
const BORDERS = [
  2,
  115,
  116,
  117,
  118,
  125,
  126,
  127,
  128,
  4095,
  4096,
  16_383,
  16_384,
  65_530,
  65_531,
  65_532,
  65_533,
  65_534,
  65_535,
  65_536,
  65_537,
  70_000,
  1 << 20,
  2 << 20,
];

const PIECES = ["a", "Z", "\u00e9", "\u20ac", "\u{1f600}", "\u2028", '\\"', "\\\\", "\\n", " "];

/** JSON objects of 2 B to 2 MiB, each a line without its newline: every border once, the rest random. */
export function randomLines(count: number, random: () => number): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const wanted = BORDERS[index] ?? Math.ceil(2 ** (1 + random() * 16));
    return randomLine(wanted, random);
  });
}

function randomLine(bytes: number, random: () => number): Buffer {
  if (bytes < 8) return Buffer.from("{}".padEnd(bytes));
  const head = '{"k":"';
  const room = bytes - head.length - 2;
  let text = "";
  for (let used = 0; used < Math.min(room - 8, 4096); ) {
    const piece = PIECES[Math.floor(random() * PIECES.length)] ?? "a";
    used += Buffer.byteLength(piece);
    text += piece;
  }
  const rest = room - Buffer.byteLength(text);
  return Buffer.from(`${head}${text}${"\u00e4".repeat(rest >> 1)}${"x".repeat(rest & 1)}"}`);
}

/** Cuts bytes at random places: single bytes, pieces and long stretches. */
export function* randomChunks(bytes: Buffer, random: () => number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const size = Math.ceil(2 ** (random() * 17));
    yield bytes.subarray(at, at + size);
    at += size;
  }
}
