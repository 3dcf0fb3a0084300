import { ArgusError } from "#lib/errors.ts";
import { ENDED_AGE_MS, MAX_ENDED, MAX_KEPT_TEXTS } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";

// How much a session's document holds and may still take. Pure.

/** Kept free for each open entry: the shortest answer that says anything, and the notice of a failure. */
export const RESERVED_BYTES = 5 * 1024;
/** Share of the document that each list of ended entries may take. */
const ENDED_SHARE = 8;

const sizes = new WeakMap<object, number>();

/** Bytes of the entry in the document. Entries are never changed in place, so each is measured once. */
export function bytesOf(entry: object): number {
  let size = sizes.get(entry);
  if (size === undefined) {
    size = Buffer.byteLength(JSON.stringify(entry)) + 1;
    sizes.set(entry, size);
  }
  return size;
}

function sum(entries: readonly object[]): number {
  return entries.reduce((total: number, entry) => total + bytesOf(entry), 0);
}

/** Bytes of the whole document, rounded up. */
export function documentBytes(document: SessionDocument): number {
  const { inputs, events, deliveries, told, asks, calls } = document;
  const { ended, endedEvents, endedDeliveries, endedCalls } = document;
  const open = [inputs, events, deliveries, told, asks, calls];
  const lists = [...open, ended, endedEvents, endedDeliveries, endedCalls];
  return lists.reduce((total, list) => total + sum(list), 2048);
}

/** Bytes that one more answer may have: what is left when everything else that is open gets its reserve. */
export function roomForAnswer(document: SessionDocument, limit: number): number {
  // The end of a queued call is an event.
  const open = document.inputs.length + document.events.length + document.calls.length;
  return limit - documentBytes(document) - open * RESERVED_BYTES;
}

/** Whether the delivery is open or known to have ended. */
export function hasDelivery({ deliveries, endedDeliveries }: SessionDocument, id: string): boolean {
  return [...deliveries, ...endedDeliveries].some((each) => each.id === id);
}

/** Throws `Busy` when an entry of `bytes` and all that open entries may still become do not fit. */
export function demandRoom(document: SessionDocument, bytes: number, limit: number): void {
  if (bytes + RESERVED_BYTES <= roomForAnswer(document, limit)) return;
  const { inputs, events, deliveries } = document;
  const message = `The session's state is full (${inputs.length} messages, ${events.length} events and ${deliveries.length} replies are open): this one was not taken. Try again when some have ended.`;
  throw new ArgusError("Busy", message, { limit });
}

interface Ended {
  endedAt: number;
}

/** Without the entries over the bounds of count, age and bytes, the oldest first. The same array when nothing leaves. */
function expired<E extends Ended>(entries: E[], now: number, limit: number): E[] {
  let left = Math.floor(limit / ENDED_SHARE);
  let first = entries.length;
  while (first > 0 && entries.length - first < MAX_ENDED) {
    const entry = entries[first - 1];
    if (!entry || now - entry.endedAt > ENDED_AGE_MS || bytesOf(entry) > left) break;
    left -= bytesOf(entry);
    first -= 1;
  }
  return first === 0 ? entries : entries.slice(first);
}

/** Keeps the text of the newest few, within half of the list's share; older ones can no longer be tried again. */
function textsKept<K extends "text" | "retry", E extends Ended & { [key in K]?: unknown }>(
  entries: E[],
  field: K,
  limit: number,
): E[] {
  let left = Math.floor(limit / ENDED_SHARE / 2);
  let count = 0;
  let isSame = true;
  const kept = entries.toReversed().map((entry) => {
    if (entry[field] === undefined) return entry;
    count += 1;
    left -= bytesOf(entry);
    if (count <= MAX_KEPT_TEXTS && left >= 0) return entry;
    isSame = false;
    const shorter = { ...entry };
    delete shorter[field];
    return shorter;
  });
  return isSame ? entries : kept.toReversed();
}

/** The document without what its bounds let go. The same object when nothing leaves. */
export function expire(document: SessionDocument, now: number, limit: number): SessionDocument {
  const { ended, endedEvents, endedDeliveries } = document;
  const next = {
    ended: expired(textsKept(ended, "retry", limit), now, limit),
    endedEvents: expired(textsKept(endedEvents, "text", limit), now, limit),
    endedDeliveries: expired(textsKept(endedDeliveries, "text", limit), now, limit),
  };
  const isSame =
    next.ended === ended &&
    next.endedEvents === endedEvents &&
    next.endedDeliveries === endedDeliveries;
  return isSame ? document : { ...document, ...next };
}

/** Cuts a text to at most `bytes` UTF-8 bytes at a character's border. */
export function cutText(text: string, bytes: number, mark = ""): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  const room = Math.max(0, bytes - Buffer.byteLength(mark));
  const cut = Buffer.from(text).subarray(0, room).toString("utf8").replace(/�+$/, "");
  return cut + mark;
}

/** `text` cut to the length that a reason may have. */
export function reasonOf(text: string): string {
  return cutText(text, 1024, "…");
}
