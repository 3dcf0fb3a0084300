import { mkdir, statfs } from "node:fs/promises";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { ArgusError } from "#lib/errors.ts";
import type { StoreReply, StoreRequest } from "./protocol.ts";
import { MAX_DOCUMENT_BYTES, type Store, type StoredDocument } from "./store.ts";
import { UnreadableDocument } from "./unreadable.ts";

/** f_type of file systems on which POSIX locks or syncs cannot be trusted. */
const NETWORK_FILE_SYSTEMS = new Map([
  [0x6969, "NFS"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x517b, "SMB"],
  [0x01021997, "9p"],
  [0x00c36400, "Ceph"],
]);
/** Requests that may wait for the disk at once. */
const MAX_PENDING = 10_000;

export interface FileStoreOptions {
  /** Made when missing; nothing else may open the files in it. */
  folder: string;
  /** Take a network file system although its locks may lie. */
  allowNetworkFileSystem?: boolean;
  /** Told who holds the store while it is waited for. */
  onHeld?: (holder: string) => void;
}

interface Waiter {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

type Operation = StoreRequest extends infer R
  ? R extends { id: number }
    ? Omit<R, "id">
    : never
  : never;

/** Opens the SQLite store in a thread of its own; waits while another process holds it. */
export async function openFileStore(
  options: FileStoreOptions,
  signal: AbortSignal,
): Promise<Store> {
  await mkdir(options.folder, { recursive: true, mode: 0o700 });
  if (!options.allowNetworkFileSystem) await refuseNetworkFileSystem(options.folder);
  const store = new FileStore(options);
  const stop = () => void store.abandon();
  signal.addEventListener("abort", stop, { once: true });
  try {
    signal.throwIfAborted();
    await store.opened;
    return store;
  } catch (error) {
    await store.abandon();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

async function refuseNetworkFileSystem(folder: string): Promise<void> {
  const { type } = await statfs(folder);
  const name = NETWORK_FILE_SYSTEMS.get(type >>> 0);
  if (!name) return;
  throw new ArgusError(
    "InvalidInput",
    `The state folder lies on ${name}, where locks and syncs cannot be trusted: use a local disk or a block volume.`,
    { folder },
  );
}

class FileStore implements Store {
  readonly #worker: Worker;
  readonly #waiters = new Map<number, Waiter>();
  readonly #opened = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<void>();
  #nextId = 1;
  #error: Error | undefined;

  constructor({ folder, onHeld }: FileStoreOptions) {
    this.#worker = new Worker(
      new URL(`./worker${extname(import.meta.filename)}`, import.meta.url),
      {
        workerData: { folder },
        execArgv: ["--disable-warning=ExperimentalWarning"],
      },
    );
    this.#opened.promise.catch(() => {});
    this.#failed.promise.catch(() => {});
    this.#worker.on("message", (message: StoreReply) => this.#receive(message, onHeld));
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.on("exit", () => {
      this.#fail(new ArgusError("Unavailable", "The state store is closed."));
    });
  }

  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  get failed(): Promise<void> {
    return this.#failed.promise;
  }

  async read(uid: string): Promise<StoredDocument | undefined> {
    const found = (await this.#ask({ op: "read", uid })) as
      | { version: number; body: string }
      | undefined;
    return found && { version: found.version, body: JSON.parse(found.body) };
  }

  async commit(uid: string, expected: number, body: unknown): Promise<number> {
    const text = JSON.stringify(body);
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_DOCUMENT_BYTES) {
      throw new ArgusError("TooLarge", "The document is over its bound: nothing was written.", {
        uid,
        bytes,
        limit: MAX_DOCUMENT_BYTES,
      });
    }
    return Number(await this.#ask({ op: "commit", uid, expected, body: text }));
  }

  async list(): Promise<{ uid: string; version: number }[]> {
    return (await this.#ask({ op: "list" })) as { uid: string; version: number }[];
  }

  async remove(uid: string, expected: number): Promise<void> {
    await this.#ask({ op: "remove", uid, expected });
  }

  async close(): Promise<void> {
    if (this.#error) return;
    const exited = new Promise((resolve) => this.#worker.once("exit", resolve));
    await this.#ask({ op: "close" });
    this.#failed.resolve();
    await exited;
  }

  /** Gives up waiting for the lock. */
  async abandon(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(operation: Operation): Promise<unknown> {
    if (this.#error) return Promise.reject(this.#error);
    if (this.#waiters.size >= MAX_PENDING) {
      return Promise.reject(new ArgusError("Busy", "Too many writes wait for the disk."));
    }
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      this.#waiters.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...operation });
    });
  }

  #receive(message: StoreReply, onHeld?: (holder: string) => void): void {
    if ("id" in message) return this.#settle(message);
    if (message.event === "open") this.#opened.resolve();
    else if (message.event === "held") onHeld?.(message.holder);
    else this.#fail(new ArgusError("Internal", `The state store failed: ${message.message}`));
  }

  #settle(message: Extract<StoreReply, { id: number }>): void {
    const waiter = this.#waiters.get(message.id);
    this.#waiters.delete(message.id);
    if ("error" in message) {
      const { code, message: text, facts, reason } = message.error;
      waiter?.reject(
        reason ? new UnreadableDocument(reason, text, facts) : new ArgusError(code, text, facts),
      );
    } else waiter?.resolve(message.value);
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#opened.reject(this.#error);
    this.#failed.reject(this.#error);
    for (const waiter of this.#waiters.values()) waiter.reject(this.#error);
    this.#waiters.clear();
  }
}
