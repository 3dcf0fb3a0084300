const TILDE = 0x7e;
const DOT = 0x2e;
const NEWLINES = new Set([0x0a, 0x0d]);

/** Where in a line the typed bytes are: only a tilde at its beginning can lead out. */
export type Typing = "line" | "tilde" | "text";

/** The bytes that go to the program, and whether `~.` at the beginning of a line asked to leave it, as in ssh; `~~` is one tilde. Pure. */
export function typed(
  state: Typing,
  bytes: Buffer,
): { state: Typing; bytes: Buffer; isLeaving: boolean } {
  const kept: number[] = [];
  let now = state;
  for (const byte of bytes) {
    if (now === "tilde" && byte === DOT)
      return { state: "line", bytes: Buffer.from(kept), isLeaving: true };
    if (now === "line" && byte === TILDE) now = "tilde";
    else {
      if (now === "tilde" && byte !== TILDE) kept.push(TILDE);
      kept.push(byte);
      now = NEWLINES.has(byte) ? "line" : "text";
    }
  }
  return { state: now, bytes: Buffer.from(kept), isLeaving: false };
}
