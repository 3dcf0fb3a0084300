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

/**
 * Watch events of a response body, however its bytes are split.
 * Throws BrokenStreamError on a line that is no event, and on one above {@link MAX_EVENT_BYTES}.
 */
export async function* watchEvents<T extends KubeObject>(
  body: AsyncIterable<Buffer>,
): AsyncGenerator<WatchEvent<T>> {
  const splitter = new LineSplitter({ maxBytes: MAX_EVENT_BYTES, onOverflow: "stop" });
  for await (const chunk of body) {
    const { lines, overflows } = splitter.push(chunk);
    for (const line of lines) yield parse<T>(line);
    if (overflows > 0) {
      throw new BrokenStreamError(`a watch event has more than ${MAX_EVENT_BYTES} bytes`);
    }
  }
  // A cut in the middle of a line loses nothing: the watch goes on from the last whole event.
}

function parse<T extends KubeObject>(line: Buffer): WatchEvent<T> {
  let event: WatchEvent<T>;
  try {
    event = JSON.parse(line.toString("utf8")) as WatchEvent<T>;
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
