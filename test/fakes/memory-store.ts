import type { Store } from "#gateway/store/store.ts";
import { ArgusError } from "#lib/errors.ts";

/** A store in memory: counts commits, holds them back and fails on demand. */
export class MemoryStore implements Store {
  maxDocumentBytes = 2 * 1024 * 1024;
  documents = new Map<string, { version: number; body: unknown }>();
  commits = 0;
  failed = new Promise<void>(() => {});
  /** While set, commits wait for it. */
  gate: Promise<void> | undefined;
  /** The next commits fail with it. */
  failures: Error[] = [];

  async read(uid: string) {
    return structuredClone(this.documents.get(uid));
  }

  async commit(uid: string, expected: number, body: unknown) {
    this.commits += 1;
    const copy = structuredClone(body);
    await this.gate;
    const failure = this.failures.shift();
    if (failure) throw failure;
    const bytes = Buffer.byteLength(JSON.stringify(body));
    const limit = this.maxDocumentBytes;
    if (bytes > limit) throw new ArgusError("TooLarge", "over its bound", { bytes, limit });
    const version = this.documents.get(uid)?.version ?? 0;
    if (version !== expected) throw new ArgusError("Conflict", "changed meanwhile", { uid });
    this.documents.set(uid, { version: expected + 1, body: copy });
    return expected + 1;
  }

  async overwrite(uid: string, body: unknown) {
    return this.commit(uid, this.documents.get(uid)?.version ?? 0, body);
  }

  async list() {
    return [...this.documents].map(([uid, { version }]) => ({ uid, version }));
  }

  async remove(uid: string, expected: number) {
    const version = this.documents.get(uid)?.version ?? expected;
    if (version !== expected) throw new ArgusError("Conflict", "changed meanwhile", { uid });
    this.documents.delete(uid);
  }

  async close() {}
}
