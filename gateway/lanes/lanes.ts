import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { KeyedListeners } from "#lib/keyed-listeners.ts";
import type { Running } from "#lib/running.ts";
import type { TurnProgress } from "#protocol/lane-methods.ts";
import type { LaneContext } from "../context.ts";
import { closeAll } from "../state/closing.ts";
import { GATEWAY_UID } from "../state/gateway-state.ts";
import { openSessionState } from "../state/session-state.ts";
import type { TurnEnded } from "../state/turns.ts";
import type { Store } from "../store/store.ts";
import { knowTasks } from "./heartbeat.ts";
import { Lane } from "./lane.ts";
import { clusterWorld } from "./world.ts";

/** Told about the turns of one session, or of all. */
export interface LaneListener {
  /** A turn ended, with the message that it answered, if any. */
  onEnded?: (ended: TurnEnded, session: string) => void;
  /** A turn runs, and what it does changed; at most once a second. */
  onProgress?: (progress: TurnProgress, session: string) => void;
  /** The session has another main thread; null = the next turn makes one. */
  onThread?: (threadId: string | null, session: string) => void;
}
/** In place of a session object's UID: all of them. */
export const ALL = "*";

/** Told about every document of a session that this process holds. Neither may throw. */
export interface DocumentWatcher {
  /** It was opened, or another version of it is on the disk. */
  changed(uid: string, lane: Lane, name: string): void;
  /** The session object is gone, or its document is. */
  gone(uid: string): void;
  /** It cannot be read; `why` says what to do. */
  unreadable?(uid: string, name: string, why: string): void;
}

interface Entry {
  lane: Lane;
  stop: AbortController;
  done: Promise<void>;
  /** The end that is under way. */
  ending?: Promise<void>;
}

/** The lanes of all sessions, by the session object's UID; each is opened when it is needed and runs until the gateway stops. */
export class Lanes implements Running {
  readonly #store: Store;
  readonly #context: LaneContext;
  readonly #entries = new Map<string, Promise<Entry>>();
  readonly #listeners = new KeyedListeners<LaneListener>();
  readonly #documents = new Set<DocumentWatcher>();
  readonly closed: Promise<void>;

  constructor(store: Store, context: LaneContext) {
    this.#store = store;
    this.#context = context;
    const { signal } = context;
    this.closed = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    }).then(() => this.#drain());
  }

  /**
   * Goes on with what was accepted before this start, and with the heartbeats of all sessions, now and later. A document that
   * cannot be read stops its own session only.
   */
  async resume(): Promise<void> {
    const { directory, logger } = this.#context;
    const sessions = directory.sessions();
    const uids = new Set(sessions.map(({ metadata }) => metadata.uid));
    for (const { uid } of await this.#store.list()) {
      if (uid !== GATEWAY_UID && !uids.has(uid))
        logger.info({ uid }, "state of a session that is gone");
    }
    for (const session of sessions) await this.#openQuietly(session);
    directory.watchAll((session) => void this.#openQuietly(session));
  }

  /** A client may talk to the session's bridge from now on: nobody knows what its agent writes into HEARTBEAT.md. */
  async visited(session: ArgusSession): Promise<void> {
    const lane = await this.of(session);
    await lane.state.update((document) => knowTasks(document, undefined));
  }

  /** The failure was logged. */
  async #openQuietly(session: ArgusSession): Promise<void> {
    const isGoing = session.metadata.deletionTimestamp !== undefined;
    if (this.#context.signal.aborted || isGoing) return;
    await this.#opened(session).catch(() => undefined);
  }

  /** The session's lane. Throws `Unavailable` when its document cannot be read, `NotFound` when the session is being deleted. */
  async of(session: ArgusSession): Promise<Lane> {
    const { directory, keeper } = this.#context;
    const { name, uid = "" } = session.metadata;
    // A client may still hold an object that is gone: its document must not come back.
    const known = await directory.find(name);
    if (known?.metadata.uid !== uid) throw deleted(name);
    await keeper.guard(known);
    const isGoing = directory.session(name)?.metadata.deletionTimestamp !== undefined;
    if (isGoing && !this.#entries.has(uid)) throw deleted(name);
    return await this.#opened(session);
  }

  async #opened({ metadata: { name, uid = "" } }: ArgusSession): Promise<Lane> {
    const opening = this.#entries.get(uid) ?? this.#open(name, uid);
    this.#entries.set(uid, opening);
    try {
      return (await opening).lane;
    } catch (error) {
      // The next one tries again: it may have been repaired.
      this.#entries.delete(uid);
      const facts = { session: name, error: errorMessage(error) };
      this.#context.logger.error(facts, "the document of a session cannot be read");
      for (const watcher of this.#documents) watcher.unreadable?.(uid, name, errorMessage(error));
      const message = `The messages of session ${name} cannot be read: ${errorMessage(error)}`;
      throw new ArgusError("Unavailable", message, { session: name }, { cause: error });
    }
  }

  /** Calls `listener` about the turns of the session object, or of {@link ALL}. Returns the unsubscribe function. */
  watch(uid: string, listener: LaneListener): () => void {
    return this.#listeners.add(uid, listener);
  }

  /** Before {@link resume}: tells `watcher` of all documents from now on. */
  watchDocuments(watcher: DocumentWatcher): void {
    this.#documents.add(watcher);
  }

  async #open(name: string, uid: string): Promise<Entry> {
    const context = this.#context;
    const state = await openSessionState(this.#store, uid, name);
    const world = clusterWorld(context, name, uid);
    const lane = new Lane({
      world,
      name,
      uid,
      state,
      limit: this.#store.maxDocumentBytes,
      hasClients: () => this.#listeners.of(uid).length > 0,
      onEnded: (ended) => this.#tell(uid, ({ onEnded }) => onEnded?.(ended, name)),
      onProgress: (progress) => this.#tell(uid, ({ onProgress }) => onProgress?.(progress, name)),
    });
    let { mainThread } = state.current;
    const changed = () => {
      const { mainThread: now } = state.current;
      const isMoved = now !== mainThread;
      mainThread = now;
      if (isMoved) this.#tell(uid, ({ onThread }) => onThread?.(now, name));
      for (const watcher of this.#documents) watcher.changed(uid, lane, name);
    };
    state.watch(changed);
    changed();
    const stop = new AbortController();
    const signal = AbortSignal.any([context.signal, stop.signal]);
    const unwatch = context.directory.watch(name, () => {
      // Another object, or none: what was accepted for this one ends with it.
      if (context.directory.session(name)?.metadata.uid !== uid) void this.#forget(uid);
    });
    const done = lane.run(signal).finally(unwatch);
    return { lane, stop, done };
  }

  #tell(uid: string, tell: (listener: LaneListener) => void): void {
    for (const listener of [...this.#listeners.of(uid), ...this.#listeners.of(ALL)]) tell(listener);
  }

  /**
   * The session is being deleted: ends what is open and tells its senders. Answers how many ended now, and how many deliveries are
   * still on their way. Throws `Unavailable` when its document cannot be read.
   */
  async shut(session: ArgusSession): Promise<{ ended: number; open: number }> {
    const { name, uid = "" } = session.metadata;
    const lane = await this.#opened(session);
    await lane.stop("the session was deleted");
    const facts = { now: Date.now(), limit: lane.limit };
    const { inputs, events, calls } = await lane.state.reduce((document) =>
      closeAll(document, facts),
    );
    for (const input of inputs) {
      this.#tell(uid, ({ onEnded }) => onEnded?.({ input, dead: [] }, name));
    }
    return { ended: inputs.length + events + calls, open: lane.state.current.deliveries.length };
  }

  /**
   * Puts another document in the place of the session's, readable or not, and goes on with it; who asks for the lane meanwhile waits
   * for it. Throws what the store says; then nothing has changed.
   */
  async replace({ metadata: { name, uid = "" } }: ArgusSession, body: unknown): Promise<void> {
    const former = this.#entries.get(uid);
    const exchange = async () => {
      const entry = await former?.catch(() => undefined);
      entry?.stop.abort();
      await entry?.done;
      const failure = await this.#store.overwrite(uid, body).catch((error: unknown) => ({ error }));
      return { opened: await this.#open(name, uid), failure };
    };
    const exchanged = exchange();
    this.#entries.set(
      uid,
      exchanged.then(({ opened }) => opened),
    );
    const { failure } = await exchanged;
    if (typeof failure === "object") throw failure.error;
  }

  /** Ends the session's lane and removes its document. Throws when the document stays; then it may be called again. */
  async end(uid: string): Promise<void> {
    const entry = await this.#entries.get(uid)?.catch(() => undefined);
    if (!entry) return;
    entry.ending ??= this.#remove(uid, entry);
    try {
      await entry.ending;
    } finally {
      delete entry.ending;
    }
  }

  async #remove(uid: string, { stop, done, lane }: Entry): Promise<void> {
    stop.abort();
    await done;
    await lane.state.remove();
    this.#entries.delete(uid);
    for (const watcher of this.#documents) watcher.gone(uid);
  }

  async #forget(uid: string): Promise<void> {
    await this.end(uid).catch((error: unknown) => {
      const facts = { uid, error: errorMessage(error) };
      this.#context.logger.warn(facts, "a deleted session's document stays");
    });
  }

  async #drain(): Promise<void> {
    const opened = await Promise.allSettled(this.#entries.values());
    const running = opened.flatMap((each) =>
      each.status === "fulfilled" ? [each.value.done] : [],
    );
    await Promise.all(running);
  }
}

function deleted(name: string): ArgusError {
  const message = `Session ${name} is being deleted: nothing is taken any more.`;
  return new ArgusError("NotFound", message, { session: name });
}
