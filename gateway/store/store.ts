/** One document, as JSON. */
export interface StoredDocument {
  /** 1 = its first commit. */
  version: number;
  body: unknown;
}

/**
 * Where the durable state lives: documents by uid, changed by compare-and-swap. What `commit` resolved survives a
 * crash of process and machine.
 */
export interface Store {
  /** Of a document's JSON. */
  readonly maxDocumentBytes: number;
  /** Undefined = never written. Throws `UnreadableDocument` for one that cannot be read; it is never taken for an empty one. */
  read(uid: string): Promise<StoredDocument | undefined>;
  /**
   * Replaces version `expected` (0 = there is none) and resolves to the new version. Throws `Conflict` when somebody
   * else was faster, `TooLarge` over `maxDocumentBytes`, `Unavailable` when the disk is full or the API server away.
   */
  commit(uid: string, expected: number, body: unknown): Promise<number>;
  /**
   * Puts a document in the place of whatever is there, readable or not, and resolves to its version. Only for a person's explicit
   * wish: what was there is gone. Throws as `commit` does.
   */
  overwrite(uid: string, body: unknown): Promise<number>;
  /** All documents' uids and versions, readable or not. */
  list(): Promise<{ uid: string; version: number }[]>;
  /** Throws `Conflict` when the version differs; a document that is not there counts as removed. */
  remove(uid: string, expected: number): Promise<void>;
  /** Ends after what was asked before. */
  close(): Promise<void>;
  /** Rejects when the store can no longer promise anything: the process has to end. Never resolves otherwise than by close. */
  readonly failed: Promise<void>;
}
