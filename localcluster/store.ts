import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { keyOf, type StoredObject } from "./object.ts";
import { expired } from "./status.ts";

export interface StoreEvent {
  type: "ADDED" | "MODIFIED" | "DELETED";
  version: number;
  /** `group/plural` under which the object is stored. */
  storage: string;
  object: StoredObject;
  /** What it was before; undefined for ADDED. */
  previous?: StoredObject;
  /** Of the object as JSON; what keeping the event costs, roughly. */
  bytes: number;
}

/** Events that a late watcher or a paged list can still reach back to. */
const MAX_EVENTS = 4096;
const MAX_EVENT_BYTES = 64 * 1024 * 1024;

/**
 * All objects, in memory and in one SQLite file. A write is on disk before it returns and before anybody is told.
 * One counter numbers all versions and survives restarts. Objects handed out are never changed.
 */
export class ObjectStore {
  readonly #database: DatabaseSync;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #count: StatementSync;
  readonly #objects = new Map<string, Map<string, StoredObject>>();
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  #events: StoreEvent[] = [];
  #eventBytes = 0;
  #version: number;
  /** Changes after this version are in `#events`. */
  #horizon: number;

  constructor(folder: string) {
    this.#database = new DatabaseSync(join(folder, "objects.db"));
    this.#database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS objects (storage TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (storage, key)) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL);
      INSERT OR IGNORE INTO counter VALUES (1, 1);
    `);
    this.#put = this.#database.prepare("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)");
    this.#remove = this.#database.prepare("DELETE FROM objects WHERE storage = ? AND key = ?");
    this.#count = this.#database.prepare("UPDATE counter SET version = ?");
    this.#version = Number(this.#database.prepare("SELECT version FROM counter").get()?.version);
    this.#horizon = this.#version;
    for (const row of this.#database.prepare("SELECT storage, key, body FROM objects").iterate()) {
      this.#bucket(String(row.storage)).set(String(row.key), JSON.parse(String(row.body)));
    }
  }

  get version(): number {
    return this.#version;
  }

  get(storage: string, namespace: string | undefined, name: string): StoredObject | undefined {
    return this.#bucket(storage).get(keyOf({ namespace, name }));
  }

  /** Sorted by key. `namespace` undefined = all. */
  list(storage: string, namespace?: string): StoredObject[] {
    return inOrder(this.#bucket(storage), namespace);
  }

  /** Every object of every kind. */
  *all(): Iterable<{ storage: string; object: StoredObject }> {
    for (const [storage, bucket] of this.#objects) {
      for (const object of bucket.values()) yield { storage, object };
    }
  }

  /** The list as it was at an earlier version. Throws 410 when that is beyond the kept events. */
  listAt(storage: string, version: number, namespace?: string): StoredObject[] {
    const bucket = new Map(this.#bucket(storage));
    for (const event of this.since(version).toReversed()) {
      if (event.storage !== storage) continue;
      if (event.previous) bucket.set(keyOf(event.object.metadata), event.previous);
      else bucket.delete(keyOf(event.object.metadata));
    }
    return inOrder(bucket, namespace);
  }

  /** Every change after `version`. Throws 410 when some of them are no longer kept. */
  since(version: number): StoreEvent[] {
    if (version < this.#horizon)
      throw expired(`too old resource version: ${version} (${this.#horizon})`);
    return this.#events.filter((event) => event.version > version);
  }

  /** Stores `object` under the next version and answers it with that version. */
  put(storage: string, object: StoredObject): StoredObject {
    const key = keyOf(object.metadata);
    const previous = this.#bucket(storage).get(key);
    const stored = this.#stamp(object);
    const body = JSON.stringify(stored);
    this.#commit(() => this.#put.run(storage, key, body));
    this.#bucket(storage).set(key, stored);
    const change = { version: this.#version, storage, object: stored, bytes: body.length };
    if (previous) this.#tell({ type: "MODIFIED", ...change, previous });
    else this.#tell({ type: "ADDED", ...change });
    return stored;
  }

  /** Removes the object; answers its last state, with the version of the removal. */
  remove(storage: string, object: StoredObject): StoredObject {
    const key = keyOf(object.metadata);
    const previous = this.#bucket(storage).get(key) ?? object;
    const last = this.#stamp(object);
    this.#commit(() => this.#remove.run(storage, key));
    this.#bucket(storage).delete(key);
    this.#tell({
      type: "DELETED",
      version: this.#version,
      storage,
      object: last,
      previous,
      bytes: 0,
    });
    return last;
  }

  /** Called after each change, in order. Returns an unsubscribe function. */
  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#listeners.clear();
    this.#database.close();
  }

  #bucket(storage: string): Map<string, StoredObject> {
    let bucket = this.#objects.get(storage);
    if (!bucket) this.#objects.set(storage, (bucket = new Map()));
    return bucket;
  }

  #stamp(object: StoredObject): StoredObject {
    const resourceVersion = String(this.#version + 1);
    return { ...object, metadata: { ...object.metadata, resourceVersion } };
  }

  #commit(write: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      write();
      this.#count.run(this.#version + 1);
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
    this.#version += 1;
  }

  #keepEvents(count: number): void {
    const cut = this.#events.length - count;
    this.#horizon = this.#events[cut - 1]?.version ?? this.#horizon;
    this.#events = this.#events.slice(cut);
    this.#eventBytes = this.#events.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #tell(event: StoreEvent): void {
    this.#events.push(event);
    this.#eventBytes += event.bytes;
    const { length } = this.#events;
    // Cut in one go: shifting one by one would copy the list at each write.
    if (length > 2 * MAX_EVENTS) this.#keepEvents(MAX_EVENTS);
    else if (this.#eventBytes > MAX_EVENT_BYTES) this.#keepEvents(Math.floor(length / 2));
    for (const listener of this.#listeners) listener(event);
  }
}

function inOrder(bucket: Map<string, StoredObject>, namespace?: string): StoredObject[] {
  const prefix = namespace === undefined ? "" : `${namespace}/`;
  return [...bucket]
    .filter(([key]) => key.startsWith(prefix))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, object]) => object);
}
