import type { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import type { Store } from "../store/store.ts";
import { UnreadableDocument } from "../store/unreadable.ts";
import { migrated, type SchemaHistory } from "./migrate.ts";

export interface DocumentKind<T> {
  /** In error messages: `The gateway document`. */
  what: string;
  schema: z.ZodType<T>;
  empty: T;
  /** Older versions that are understood; without it only the schema decides. */
  history?: SchemaHistory;
}

/** What a command makes of a document, and what its sender is told once that is durable. */
export interface Reduced<T, A> {
  document: T;
  answer: A;
}

/**
 * One document of the store in memory. Commands are reduced at once on the newest version; those that come while a commit is
 * under way share the next one. Whoever is answered finds its change on the disk; a failed commit takes back every version
 * that was not.
 */
export class StoredState<T> {
  readonly #store: Store;
  readonly #uid: string;
  #version: number;
  #committed: T;
  #newest: T;
  /** The commit that `#newest` goes with; undefined = it is committed. */
  #next: Promise<void> | undefined;
  /** The commit under way; resolved when there is none. */
  #running: Promise<void> = Promise.resolve();
  #tail: Promise<void> = Promise.resolve();
  #generation = 0;
  readonly #watchers = new Set<(document: T) => void>();

  private constructor(store: Store, uid: string, read: { version: number; current: T }) {
    this.#store = store;
    this.#uid = uid;
    this.#version = read.version;
    this.#committed = read.current;
    this.#newest = read.current;
  }

  /** Reads the document, brought to this version's schema. Throws {@link UnreadableDocument}: it is refused, never replaced. */
  static async open<T>(store: Store, uid: string, kind: DocumentKind<T>): Promise<StoredState<T>> {
    const stored = await store.read(uid);
    if (!stored) return new StoredState(store, uid, { version: 0, current: kind.empty });
    const current = understood(kind, uid, stored.body);
    return new StoredState(store, uid, { version: stored.version, current });
  }

  /** As it is on the disk. */
  get current(): T {
    return this.#committed;
  }

  /** Calls `watcher` with each version that is on the disk from now on; it must not throw. Returns the unsubscribe function. */
  watch(watcher: (document: T) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Resolves once `change(newest)` is durable; the same object back means nothing to do. Throws what `change` throws. */
  async update(change: (document: T) => T): Promise<T> {
    return this.reduce((before) => {
      const document = change(before);
      return { document, answer: document };
    });
  }

  /** Resolves to the command's answer once its document is durable, and everything it was decided on. */
  async reduce<A>(command: (document: T) => Reduced<T, A>): Promise<A> {
    const { document, answer } = command(this.#newest);
    if (document !== this.#newest) {
      this.#newest = document;
      this.#next ??= this.#enqueue();
    }
    // Without a change of its own it may still rest on one that is not committed yet.
    await (this.#next ?? this.#running);
    return answer;
  }

  /** Removes the document for good, after what was asked before. */
  async remove(): Promise<void> {
    await (this.#next ?? this.#running);
    await this.#store.remove(this.#uid, this.#version);
  }

  /** One commit at a time; the next takes all that was reduced until it starts. */
  #enqueue(): Promise<void> {
    const generation = this.#generation;
    const done = this.#tail.then(() => {
      if (generation !== this.#generation) throw dropped(this.#uid);
      this.#next = undefined;
      this.#running = this.#commit(this.#newest);
      return this.#running;
    });
    this.#tail = done.catch(() => {});
    return done;
  }

  async #commit(document: T): Promise<void> {
    try {
      this.#version = await this.#store.commit(this.#uid, this.#version, document);
      this.#committed = document;
      for (const watcher of this.#watchers) watcher(document);
    } catch (error) {
      this.#generation += 1;
      this.#next = undefined;
      this.#running = Promise.resolve();
      this.#newest = this.#committed;
      throw error;
    }
  }
}

/** A document's body, brought to this version's schema. Throws {@link UnreadableDocument}. */
export function understood<T>(kind: DocumentKind<T>, uid: string, stored: unknown): T {
  const { what, schema, history } = kind;
  const body = history ? migrated(stored, history, { what, uid }) : stored;
  const checked = schema.safeParse(body);
  if (checked.success) return checked.data;
  throw new UnreadableDocument(
    "UnknownShape",
    `${what} has a shape that this version does not know: start the Argus version that wrote it.`,
    { uid, problem: checked.error.issues[0]?.message },
  );
}

function dropped(uid: string): ArgusError {
  const message =
    "A change before this one could not be written: nothing of it was kept; try again.";
  return new ArgusError("Unavailable", message, { uid });
}
