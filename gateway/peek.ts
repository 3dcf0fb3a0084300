import { scanLine, stringAt } from "#lib/scan.ts";

const QUOTE = 34;
const COMMA = 44;
const SLASH = 47;
const COLON = 58;
const BACKSLASH = 92;
const OPEN_BRACE = 123;
const METHOD = Buffer.from("method");
/** A short string is walked byte by byte; a longer one is worth native calls. */
const WALK_BYTES = 64;
const LOOP_BYTES = 512;

/**
 * What a glance at a client's message tells: `reserved` = the top-level method starts with `argus/` or `bridge/`,
 * `noObject` = it does not start like a JSON object, `forward` = anything else, malformed or not.
 * Walks the top level up to the first method, whatever its key's and value's spelling; nothing is parsed.
 * A second method would count for a parser, so a message that could hold a reserved one is walked to its end.
 */
export function peek(
  buffer: Buffer,
  start: number,
  end: number,
): "forward" | "reserved" | "noObject" {
  let at = skipSpace(buffer, start);
  if (at >= end || buffer[at] !== OPEN_BRACE) return "noObject";
  for (;;) {
    const key = skipSpace(buffer, at + 1);
    if (buffer[key] !== QUOTE) return "forward";
    const keyEnd = stringEnd(buffer, key + 1, end);
    const colon = skipSpace(buffer, keyEnd + 1);
    if (keyEnd < 0 || buffer[colon] !== COLON) return "forward";
    const value = skipSpace(buffer, colon + 1);
    if (isMethodKey(buffer, key, keyEnd)) {
      if (isReservedValue(buffer, value, end)) return "reserved";
      return mayNameAnother(buffer, value, end) ? lookAll(buffer, start, end) : "forward";
    }
    at = skipSpace(buffer, valueEnd(buffer, value, end));
    if (at >= end || buffer[at] !== COMMA) return "forward";
  }
}

/** A reserved method has a slash, plain or escaped. */
function mayNameAnother(buffer: Buffer, value: number, end: number): boolean {
  const from = valueEnd(buffer, value, end);
  if (end - from > LOOP_BYTES) {
    const rest = buffer.subarray(from, end);
    return rest.includes(SLASH) || rest.includes(BACKSLASH);
  }
  for (let at = from; at < end; at += 1) {
    if (buffer[at] === SLASH || buffer[at] === BACKSLASH) return true;
  }
  return false;
}

function lookAll(buffer: Buffer, start: number, end: number): "forward" | "reserved" {
  const line = buffer.subarray(start, end);
  const method = stringAt(line, scanLine(line)?.method);
  return method !== undefined && isReserved(method) ? "reserved" : "forward";
}

function isReserved(method: string): boolean {
  return method.startsWith("argus/") || method.startsWith("bridge/");
}

/** The line's own newline at `end` is never more than one byte away, so a walk may look at it. */
function skipSpace(buffer: Buffer, from: number): number {
  let at = from;
  while (buffer[at] === 32 || buffer[at] === 9 || buffer[at] === 13) at += 1;
  return at;
}

/** Offset of the closing quote of the string whose first character is at `from`; -1 = it has none. */
function stringEnd(buffer: Buffer, from: number, end: number): number {
  const near = Math.min(end, from + WALK_BYTES);
  let at = from;
  for (; at < near; at += 1) {
    if (buffer[at] === QUOTE) return at;
    if (buffer[at] === BACKSLASH) at += 1;
  }
  return farStringEnd(buffer, at, end);
}

function farStringEnd(buffer: Buffer, from: number, end: number): number {
  let quote = buffer.indexOf(QUOTE, from);
  while (quote >= 0 && quote < end) {
    let slashes = 0;
    while (quote - slashes > from && buffer[quote - slashes - 1] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return quote;
    quote = buffer.indexOf(QUOTE, quote + 1);
  }
  return -1;
}

/** Offset behind the value at `from`; `end` when it does not end. */
function valueEnd(buffer: Buffer, from: number, end: number): number {
  const first = buffer[from];
  if (first === QUOTE) {
    const close = stringEnd(buffer, from + 1, end);
    return close < 0 ? end : close + 1;
  }
  return isOpening(first) ? nestedEnd(buffer, from, end) : literalEnd(buffer, from, end);
}

function literalEnd(buffer: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && buffer[at] !== COMMA && buffer[at] !== 32 && !isClosing(buffer[at])) at += 1;
  return at;
}

function nestedEnd(buffer: Buffer, from: number, end: number): number {
  let depth = 0;
  for (let at = from; at < end; at += 1) {
    const byte = buffer[at];
    if (byte === QUOTE) {
      at = stringEnd(buffer, at + 1, end);
      if (at < 0) return end;
    } else if (isOpening(byte)) depth += 1;
    else if (isClosing(byte)) depth -= 1;
    if (depth === 0) return at + 1;
  }
  return end;
}

const isOpening = (byte: number | undefined) => byte === OPEN_BRACE || byte === 91;
const isClosing = (byte: number | undefined) => byte === 125 || byte === 93;

/** `"method"`, also when spelled with escapes. */
function isMethodKey(buffer: Buffer, quote: number, end: number): boolean {
  const length = end - quote - 1;
  if (length === 6) return sameBytes(buffer, quote + 1, METHOD);
  return length > 6 && hasEscape(buffer, quote, end) && text(buffer, quote, end) === "method";
}

function sameBytes(buffer: Buffer, from: number, wanted: Buffer): boolean {
  for (let index = 0; index < wanted.length; index += 1) {
    if (buffer[from + index] !== wanted[index]) return false;
  }
  return true;
}

function isReservedValue(buffer: Buffer, quote: number, end: number): boolean {
  if (buffer[quote] !== QUOTE) return false;
  const first = buffer[quote + 1];
  // `a`, `b` or an escape somewhere: look closer.
  const close = stringEnd(buffer, quote + 1, end);
  if (close < 0 || (first !== 97 && first !== 98 && !hasEscape(buffer, quote, close))) return false;
  return isReserved(text(buffer, quote, close));
}

function hasEscape(buffer: Buffer, from: number, end: number): boolean {
  for (let at = from; at < end; at += 1) if (buffer[at] === BACKSLASH) return true;
  return false;
}

/** The string between two quotes; empty when it is not valid JSON. */
function text(buffer: Buffer, quote: number, end: number): string {
  try {
    return String(JSON.parse(buffer.toString("utf8", quote, end + 1)));
  } catch {
    return "";
  }
}
