import { type FileHandle, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { makeFolderDurably, syncFolder } from "#lib/durable-file.ts";
import { isErrno } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";

/** The file is written anew when it holds this much more than what lives. */
const SLACK_BYTES = 4 * 1024 * 1024;

/** What a journal makes lasting: state that can be told as lines and read from them. */
export interface Journaled {
  /** Forgets what is over its bounds. */
  expire(now: number): void;
  snapshot(): string;
  /** Returns how many lines were unreadable. */
  load(text: string): number;
}

interface Waiting {
  text: string;
  durable: boolean;
  resolve: () => void;
  reject: (error: unknown) => void;
}

export interface JournalOptions {
  path: string;
  state: Journaled;
  logger: Logger;
  /** Makes the names in a folder durable. */
  syncFolder?: (folder: string) => Promise<void>;
}

/** An append-only file of lines. Appends that wait share one write and one fdatasync; it is compacted by itself. */
export class Journal {
  readonly #options: JournalOptions;
  #handle: FileHandle;
  #bytes: number;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  /** A line may have been written half: the next one starts on a line of its own. */
  #torn: boolean;
  /** The file's name may still lead to its predecessor after the node's end: nothing appended is durable until it is synced. */
  #unnamed = true;

  private constructor(options: JournalOptions, handle: FileHandle, bytes: number) {
    this.#options = options;
    this.#handle = handle;
    this.#bytes = bytes;
    this.#torn = bytes > 0;
  }

  /** Loads what is there into the state. Throws what the file system says. */
  static async open(options: JournalOptions): Promise<Journal> {
    const { path, state, logger } = options;
    await makeFolderDurably(dirname(path));
    const text = await readFile(path, "utf8").catch((error: unknown) => {
      if (isErrno(error, "ENOENT")) return "";
      throw error;
    });
    const unreadable = state.load(text);
    // A torn last line is normal after a crash.
    if (unreadable > 1) logger.warn({ path, lines: unreadable }, "journal has unreadable lines");
    state.expire(Date.now());
    const handle = await rewrite(path, state.snapshot()).catch((error: unknown) => {
      // A full disk must not keep the session away: what is there is still good.
      logger.warn({ path, err: error }, "journal was not compacted");
      return open(path, "a", 0o600);
    });
    const journal = new Journal(options, handle, (await handle.stat()).size);
    await journal.#syncName();
    return journal;
  }

  /** Resolves when the line is written, with `durable` when it is on the disk. Rejects with the file system's error. */
  append(text: string, durable: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, durable, resolve, reject });
      this.#writing ??= this.#write().finally(() => {
        this.#writing = undefined;
      });
    });
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#handle.close();
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      await this.#writeBatch(batch).then(
        () => {
          for (const { resolve } of batch) resolve();
        },
        (error: unknown) => {
          this.#torn = true;
          for (const { reject } of batch) reject(error);
        },
      );
    }
  }

  async #writeBatch(batch: readonly Waiting[]): Promise<void> {
    const text = (this.#torn ? "\n" : "") + batch.map((waiting) => waiting.text).join("");
    await this.#handle.appendFile(text);
    this.#torn = false;
    this.#bytes += Buffer.byteLength(text);
    if (batch.some(({ durable }) => durable)) await this.#makeDurable();
    await this.#compact();
  }

  async #makeDurable(): Promise<void> {
    await this.#handle.datasync();
    const failure = this.#unnamed ? await this.#syncName() : undefined;
    // Refused, loudly: the sender must not count on what a crash could take back.
    if (failure) throw failure;
  }

  /** What it failed with; the next durable append tries again. */
  async #syncName(): Promise<Error | undefined> {
    const { path, logger, syncFolder: sync = syncFolder } = this.#options;
    try {
      await sync(dirname(path));
      this.#unnamed = false;
      return undefined;
    } catch (error) {
      logger.error({ path, err: error }, "journal's folder was not synced: new inputs are refused");
      return new Error("the journal's folder was not synced", { cause: error });
    }
  }

  async #compact(): Promise<void> {
    const { state, path, logger } = this.#options;
    if (this.#bytes < SLACK_BYTES) return;
    state.expire(Date.now());
    const live = state.snapshot();
    if (this.#bytes < live.length * 2 + SLACK_BYTES) return;
    try {
      const fresh = await rewrite(path, live);
      const old = this.#handle;
      // From the rename on the name means the new file, whatever else fails.
      this.#handle = fresh;
      this.#bytes = Buffer.byteLength(live);
      this.#unnamed = true;
      await this.#syncName();
      await old.close();
    } catch (error) {
      // Nothing was renamed, and what was appended is safe in the old file; the next append tries again.
      logger.warn({ path, err: error }, "journal was not compacted");
    }
  }
}

/** Replaces the file in one step and returns it open for appending; throws = the old one still has the name. */
async function rewrite(path: string, text: string): Promise<FileHandle> {
  const temporary = `${path}.new`;
  const handle = await open(temporary, "w", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
    await rename(temporary, path);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}
