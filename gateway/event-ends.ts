import type { EndedEvent } from "#protocol/lane-entry.ts";
import type { Lane } from "./lanes/lane.ts";
import type { DocumentWatcher } from "./lanes/lanes.ts";

/** Told about each end of an event of one session. Must not throw. */
export type EventEndListener = (ended: EndedEvent) => void;

/** Sees in the documents which events have ended, whatever ended them. */
export class EventEnds implements DocumentWatcher {
  /** By the session's UID, as of the version that was looked at last. */
  readonly #seen = new Map<string, readonly EndedEvent[]>();
  readonly #listeners = new Map<string, Set<EventEndListener>>();

  /** Calls `listener` for each event of the session object that ends. Returns the unsubscribe function. */
  watch(uid: string, listener: EventEndListener): () => void {
    const listeners = this.#listeners.get(uid) ?? new Set();
    this.#listeners.set(uid, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(uid);
    };
  }

  changed(uid: string, lane: Lane): void {
    const { endedEvents } = lane.state.current;
    const before = this.#seen.get(uid);
    if (before === endedEvents) return;
    this.#seen.set(uid, endedEvents);
    const listeners = this.#listeners.get(uid);
    if (!before || !listeners) return;
    const known = new Set(before.map(({ id }) => id));
    for (const ended of endedEvents) {
      if (!known.has(ended.id)) for (const listener of listeners) listener(ended);
    }
  }

  gone(uid: string): void {
    this.#seen.delete(uid);
  }
}
