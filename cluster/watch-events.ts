import { ArgusError } from "#lib/errors.ts";
import { LineSplitter } from "#lib/lines.ts";
import type { KubeStatus } from "./kube-error.ts";
import type { KubeObject } from "./types.ts";

/** One line of a watch: `{"type":"ADDED","object":{…}}`. */
export type WatchEvent<T extends KubeObject> =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: T }
  | { type: "BOOKMARK"; object: KubeObject }
  | { type: "ERROR"; object: KubeStatus };

/** A line is one object; etcd takes requests of at most 1.5 MiB, and JSON of it may be some times larger. */
export const MAX_EVENT_BYTES = 16 * 1024 * 1024;
const TYPES = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"];

/** The stream cannot be trusted from here on: the cache must be listed again. */
export class BrokenStreamError extends ArgusError {
  constructor(message: string) {
    super("Unavailable", message);
  }
}

/** What one of two watches told and the other is about to. */
const MAX_TOLD = 16;
/** Larger ones are rare: parsed twice. */
const MAX_TOLD_LENGTH = 64 * 1024;

/** Newest events of two watches of one collection: an API server sends both the same bytes, which are parsed once. */
export class ToldEvents<T extends KubeObject> {
  readonly #events = new Map<string, WatchEvent<T>>();

  /** The event of such a line; undefined when nobody told it lately. It is told twice only. */
  take(line: string): WatchEvent<T> | undefined {
    const event = this.#events.get(line);
    if (event) this.#events.delete(line);
    return event;
  }

  put(line: string, event: WatchEvent<T>): void {
    if (line.length > MAX_TOLD_LENGTH) return;
    this.#events.set(line, event);
    const [oldest] = this.#events.keys();
    if (this.#events.size > MAX_TOLD && oldest !== undefined) this.#events.delete(oldest);
  }
}

/**
 * Watch events of a response body, however its bytes are split.
 * Throws BrokenStreamError on a line that is no event, and on one above {@link MAX_EVENT_BYTES}.
 */
export async function* watchEvents<T extends KubeObject>(
  body: AsyncIterable<Buffer>,
  told?: ToldEvents<T>,
): AsyncGenerator<WatchEvent<T>> {
  const splitter = new LineSplitter({ maxBytes: MAX_EVENT_BYTES, onOverflow: "stop" });
  for await (const chunk of body) {
    const { lines, overflows } = splitter.push(chunk);
    for (const line of lines) yield parseOnce(line.toString("utf8"), told);
    if (overflows > 0) {
      throw new BrokenStreamError(`a watch event has more than ${MAX_EVENT_BYTES} bytes`);
    }
  }
  // A cut in the middle of a line loses nothing: the watch goes on from the last whole event.
}

function parseOnce<T extends KubeObject>(line: string, told?: ToldEvents<T>): WatchEvent<T> {
  const known = told?.take(line);
  if (known) return known;
  const event = parse<T>(line);
  told?.put(line, event);
  return event;
}

function parse<T extends KubeObject>(line: string): WatchEvent<T> {
  let event: WatchEvent<T>;
  try {
    event = JSON.parse(line) as WatchEvent<T>;
  } catch {
    throw new BrokenStreamError("a line of the watch is not JSON");
  }
  if (!TYPES.includes(event?.type) || typeof event.object !== "object" || event.object === null) {
    throw new BrokenStreamError("a line of the watch is not an event");
  }
  if (event.type !== "ERROR" && !event.object.metadata?.resourceVersion) {
    throw new BrokenStreamError("a watch event carries no resourceVersion");
  }
  return event;
}
