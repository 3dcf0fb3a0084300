/** Bytes `[start, end)` of a line. */
export interface Range {
  start: number;
  end: number;
}

/** Where the members lie that decide a JSON-RPC line's way. A key that occurs twice counts where JSON.parse takes it: last. */
export interface LineScan {
  /** Of the opening brace. */
  open: number;
  id?: Range;
  /** Of the value, quotes included. */
  method?: Range;
  params?: Range;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
/** Up to here a loop beats the call of the native search. */
const SHORT_STRING_BYTES = 32;
const ENVELOPE = names("id", "method", "params");

/** Keys to look for; make it once, outside of hot paths. */
export interface WantedKeys {
  keys: readonly Buffer[];
}

export function names(...keys: string[]): WantedKeys {
  return { keys: keys.map((key) => Buffer.from(key)) };
}

/** Walks the top level of a line without parsing it; undefined when it is not one JSON object. Values are not checked. */
export function scanLine(line: Buffer): LineScan | undefined {
  const open = skipSpace(line, 0);
  const [found, end] = walk(line, open, ENVELOPE.keys);
  if (end < 0 || skipSpace(line, end) !== line.length) return undefined;
  const [id, method, params] = found;
  const scan: LineScan = { open };
  if (id) scan.id = id;
  if (method) scan.method = method;
  if (params) scan.params = params;
  return scan;
}

/** Value ranges of the wanted members of the object that starts at `open`, in the order of the names; none when it is no object. */
export function scanMembers(line: Buffer, open: number, wanted: WantedKeys): (Range | undefined)[] {
  const [found, end] = walk(line, open, wanted.keys);
  return end < 0 ? [] : found;
}

/** A new line: `line` with `replacement` in place of the range. */
export function splice(line: Buffer, { start, end }: Range, replacement: Buffer): Buffer {
  const spliced = Buffer.allocUnsafe(line.length - (end - start) + replacement.length);
  line.copy(spliced, 0, 0, start);
  replacement.copy(spliced, start);
  line.copy(spliced, start + replacement.length, end);
  return spliced;
}

/** Shorter lines are cheaper to copy than to write in pieces. */
const WHOLE_BYTES = 2048;

/** The same as pieces to be written in order: a long line is shared, not copied. */
export function splicePieces(line: Buffer, at: Range, replacement: Buffer): Buffer[] {
  if (line.length < WHOLE_BYTES) return [splice(line, at, replacement)];
  return [line.subarray(0, at.start), replacement, line.subarray(at.end)];
}

/** The parsed value of a range; undefined when absent or not JSON. For small values only. */
export function valueAt(line: Buffer, range: Range | undefined): unknown {
  if (!range) return undefined;
  try {
    return JSON.parse(line.toString("utf8", range.start, range.end));
  } catch {
    return undefined;
  }
}

/** The string at a range; undefined when absent or not a string. */
export function stringAt(line: Buffer, range: Range | undefined): string | undefined {
  if (!range || line[range.start] !== QUOTE) return undefined;
  const escape = line.indexOf(BACKSLASH, range.start);
  if (escape < 0 || escape >= range.end)
    return line.toString("utf8", range.start + 1, range.end - 1);
  const value = valueAt(line, range);
  return typeof value === "string" ? value : undefined;
}

/** Finds the wanted keys of one object; the end behind its closing brace is -1 when it is none. */
function walk(
  line: Buffer,
  open: number,
  keys: readonly Buffer[],
): [found: (Range | undefined)[], end: number] {
  const found: (Range | undefined)[] = [];
  if (line[open] !== OPEN_BRACE) return [found, -1];
  let at = skipSpace(line, open + 1);
  if (line[at] === CLOSE_BRACE) return [found, at + 1];
  for (;;) {
    const keyEnd = line[at] === QUOTE ? skipString(line, at) : -1;
    if (keyEnd < 0) return [found, -1];
    const colon = skipSpace(line, keyEnd);
    const start = skipSpace(line, colon + 1);
    const end = line[colon] === COLON ? skipValue(line, start) : -1;
    if (end <= start) return [found, -1];
    const index = indexOfKey(line, at + 1, keyEnd - 1, keys);
    if (index >= 0) found[index] = { start, end };
    at = skipSpace(line, end);
    if (line[at] === CLOSE_BRACE) return [found, at + 1];
    if (line[at] !== COMMA) return [found, -1];
    at = skipSpace(line, at + 1);
  }
}

function indexOfKey(line: Buffer, start: number, end: number, keys: readonly Buffer[]): number {
  for (let at = start; at < end; at += 1) {
    if (line[at] === BACKSLASH) return indexOfEscapedKey(line, start, end, keys);
  }
  for (let index = 0; index < keys.length; index += 1) {
    const key = keys[index];
    if (key && key.length === end - start && sameBytes(line, start, key)) return index;
  }
  return -1;
}

/** `"\u0069d"` is `"id"` as well. */
function indexOfEscapedKey(
  line: Buffer,
  start: number,
  end: number,
  keys: readonly Buffer[],
): number {
  const key = valueAt(line, { start: start - 1, end: end + 1 });
  return keys.findIndex((wanted) => wanted.toString() === key);
}

function sameBytes(line: Buffer, start: number, key: Buffer): boolean {
  for (let index = 0; index < key.length; index += 1) {
    if (line[start + index] !== key[index]) return false;
  }
  return true;
}

function skipSpace(line: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const byte = line[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    at += 1;
  }
}

/** End of the value that starts at `at`; at or before it when there is none. */
function skipValue(line: Buffer, at: number): number {
  const first = line[at];
  if (first === QUOTE) return skipString(line, at);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return skipNested(line, at);
  let end = at;
  while (end < line.length && isLiteralByte(line[end] ?? 0)) end += 1;
  return end;
}

/** Digits, letters, sign and point: numbers, true, false, null. */
function isLiteralByte(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x45 ||
    byte === 0x2b ||
    byte === 0x2d ||
    byte === 0x2e
  );
}

/** Behind the closing quote of the string that opens at `open`; -1 when it does not close. */
function skipString(line: Buffer, open: number): number {
  const near = Math.min(line.length, open + SHORT_STRING_BYTES);
  let at = open + 1;
  for (; at < near; at += 1) {
    const byte = line[at];
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) at += 1;
  }
  return skipLongString(line, at);
}

/** `from` is not inside an escape. */
function skipLongString(line: Buffer, from: number): number {
  for (let at = from; ; ) {
    const quote = line.indexOf(QUOTE, at);
    if (quote < 0) return -1;
    let slash = quote - 1;
    while (slash >= at && line[slash] === BACKSLASH) slash -= 1;
    if ((quote - slash) % 2 === 1) return quote + 1;
    at = quote + 1;
  }
}

function skipNested(line: Buffer, open: number): number {
  let depth = 0;
  for (let at = open; at < line.length; ) {
    const byte = line[at];
    if (byte === QUOTE) {
      at = skipString(line, at);
      if (at < 0) return -1;
      continue;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
    at += 1;
    if (depth === 0) return at;
  }
  return -1;
}
