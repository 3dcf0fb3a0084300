import { access, constants, mkdir, stat } from "node:fs/promises";
import { dirname, extname } from "node:path";
import { Worker } from "node:worker_threads";
import { ArgusError } from "#lib/errors.ts";
import { difference } from "./change.ts";
import { failureWords } from "./failures.ts";
import { refuseNetworkFileSystem } from "./file-systems.ts";
import type { StoreReply } from "./protocol.ts";
import { type ChangeText, Requests } from "./requests.ts";
import type { Store, StoredDocument } from "./store.ts";

export const MAX_DOCUMENT_BYTES = 2 * 1024 * 1024;
/** Changes of one document: each reading of it repeats them. */
const MAX_CHANGES = 1000;

export interface FileStoreOptions {
  /** Made when missing; nothing else may open the files in it. */
  folder: string;
  /** Take a network file system although its locks may lie. */
  allowNetworkFileSystem?: boolean;
  /** Told who holds the store while it is waited for. */
  onHeld?: (holder: string) => void;
}

/** A document as it was committed last, to find out what the next commit changes. */
interface Base {
  version: number;
  body: unknown;
  /** At least as much as its JSON has. */
  bytes: number;
  /** Written since it was written whole. */
  changes: number;
}

/** Opens the SQLite store in a thread of its own; waits while another process holds it. */
export async function openFileStore(
  options: FileStoreOptions,
  signal: AbortSignal,
): Promise<Store> {
  try {
    await makeFolder(options.folder);
    // SQLite calls a read-only disk an I/O error.
    await access(options.folder, constants.W_OK);
  } catch (error) {
    throw new ArgusError("Unavailable", failureWords(error, options.folder));
  }
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

/** Throws `TooLarge` for a document over the bound. */
function fitting(uid: string, body: unknown): { text: string; bytes: number } {
  const text = JSON.stringify(body);
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_DOCUMENT_BYTES) return { text, bytes };
  const message = "The document is over its bound: nothing was written.";
  throw new ArgusError("TooLarge", message, { uid, bytes, limit: MAX_DOCUMENT_BYTES });
}

function whole(uid: string, body: unknown): ChangeText {
  const { text, bytes } = fitting(uid, body);
  return { text: `{"set":${text}}`, bytes: bytes + '{"set":}'.length, whole: true };
}

/** On a read-only disk a recursive mkdir only says that the folder is not there: what its nearest parent refuses is the reason. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    let parent = dirname(folder);
    while (!(await stat(parent).catch(() => undefined))) parent = dirname(parent);
    await access(parent, constants.W_OK);
    throw error;
  }
}

class FileStore implements Store {
  readonly maxDocumentBytes = MAX_DOCUMENT_BYTES;
  readonly #worker: Worker;
  readonly #requests: Requests;
  /** By uid; their owners hold the same bodies. */
  readonly #bases = new Map<string, Base>();
  /** Documents that the worker wants whole. */
  readonly #due = new Set<string>();
  readonly #opened = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<void>();
  #isOver = false;

  constructor({ folder, onHeld }: FileStoreOptions) {
    this.#worker = new Worker(
      new URL(`./worker${extname(import.meta.filename)}`, import.meta.url),
      {
        workerData: { folder },
        execArgv: ["--disable-warning=ExperimentalWarning"],
      },
    );
    this.#requests = new Requests(this.#worker);
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
    const found = (await this.#requests.ask({ op: "read", uid })) as
      | { version: number; body: string }
      | undefined;
    return found && { version: found.version, body: JSON.parse(found.body) };
  }

  async commit(uid: string, expected: number, body: unknown): Promise<number> {
    const base = this.#bases.get(uid);
    const known = base?.version === expected ? base : undefined;
    const kept = known
      ? await this.#commitChange(uid, known, body)
      : { bytes: await this.#commitWhole(uid, expected, body), changes: 0 };
    this.#bases.set(uid, { version: expected + 1, body, ...kept });
    return expected + 1;
  }

  async #commitChange(
    uid: string,
    base: Base,
    body: unknown,
  ): Promise<Omit<Base, "version" | "body">> {
    const change = this.#change(uid, base, body) ?? whole(uid, body);
    if (change.whole) this.#due.delete(uid);
    await this.#requests.change(uid, base.version, change);
    if (change.whole) return { bytes: change.bytes, changes: 0 };
    return { bytes: base.bytes + change.bytes, changes: base.changes + 1 };
  }

  /** Undefined when it is time to write everything. */
  #change(uid: string, base: Base, body: unknown): ChangeText | undefined {
    if (base.changes >= MAX_CHANGES || this.#due.has(uid)) return undefined;
    const change = difference(base.body, body);
    if (!change) return undefined;
    const text = JSON.stringify(change);
    const bytes = Buffer.byteLength(text);
    return base.bytes + bytes <= MAX_DOCUMENT_BYTES ? { text, bytes, whole: false } : undefined;
  }

  async overwrite(uid: string, body: unknown): Promise<number> {
    const { text } = fitting(uid, body);
    this.#due.delete(uid);
    this.#bases.delete(uid);
    return (await this.#requests.ask({ op: "overwrite", uid, body: text })) as number;
  }

  async #commitWhole(uid: string, expected: number, body: unknown): Promise<number> {
    const { text, bytes } = fitting(uid, body);
    this.#due.delete(uid);
    await this.#requests.ask({ op: "commit", uid, expected, body: text });
    return bytes;
  }

  async list(): Promise<{ uid: string; version: number }[]> {
    return (await this.#requests.ask({ op: "list" })) as { uid: string; version: number }[];
  }

  async remove(uid: string, expected: number): Promise<void> {
    this.#bases.delete(uid);
    this.#due.delete(uid);
    await this.#requests.ask({ op: "remove", uid, expected });
  }

  async close(): Promise<void> {
    if (this.#isOver) return;
    const exited = new Promise((resolve) => this.#worker.once("exit", resolve));
    await this.#requests.ask({ op: "close" });
    this.#failed.resolve();
    await exited;
  }

  /** Gives up waiting for the lock. */
  async abandon(): Promise<void> {
    await this.#worker.terminate();
  }

  #receive(message: StoreReply, onHeld?: (holder: string) => void): void {
    if (message.event === "outcomes") {
      for (const outcome of message.outcomes) this.#requests.settle(outcome);
      if (message.whole !== undefined) this.#due.add(message.whole);
    } else if (message.event === "open") this.#opened.resolve();
    else if (message.event === "held") onHeld?.(message.holder);
    else this.#fail(new ArgusError("Unavailable", message.message));
  }

  #fail(error: Error): void {
    this.#isOver = true;
    this.#requests.fail(error);
    this.#opened.reject(error);
    this.#failed.reject(error);
  }
}
