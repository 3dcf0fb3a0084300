import { randomUUID } from "node:crypto";
import { ArgusError } from "#lib/errors.ts";
import { CHANNEL_FILE, type FetchNotice, type PieceParams } from "#protocol/channel-files.ts";
import { MAX_FILE_IN_BYTES } from "#protocol/workspace-files.ts";

/** Without a piece for so long a file counts as not to be had. */
const SILENCE_MS = 120_000;
/** Until its first piece an adapter is asked again: news may be dropped. */
const ASK_AGAIN_MS = 5000;

export type Piece = Omit<PieceParams, "fetchId">;
/** Writes a piece down; the next one comes after it. */
export type Take = (piece: Piece) => Promise<void>;

export interface WantedFile {
  channel: string;
  chatKey: string;
  fileId: string;
}

interface Fetch {
  channel: string;
  notice: FetchNotice;
  take: Take;
  /** Bytes that were taken; undefined = none asked yet. */
  taken: number;
  /** Who hands it in. */
  by: object | undefined;
  done: PromiseWithResolvers<void>;
  silence: NodeJS.Timeout;
}

/** Files of channels that lanes wait for: each is asked of the channel's adapters and taken piece by piece, never held whole. */
export class FileDesk {
  readonly #fetches = new Map<string, Fetch>();
  readonly #signal: AbortSignal;
  /** Tells the channel's adapters. */
  tell: (channel: string, method: string, params: unknown) => void = () => {};

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Resolves when the last piece was taken. Throws in words for the agent why there is no such file, or what `take` threw. */
  async fetch({ channel, chatKey, fileId }: WantedFile, take: Take): Promise<void> {
    this.#signal.throwIfAborted();
    const notice = { fetchId: randomUUID(), fileId, chatKey, maxBytes: MAX_FILE_IN_BYTES };
    const done = Promise.withResolvers<void>();
    const silence = setTimeout(() => done.reject(silent()), SILENCE_MS);
    const abort = () => done.reject(this.#signal.reason);
    this.#signal.addEventListener("abort", abort, { once: true });
    const fetch: Fetch = { channel, notice, take, taken: 0, by: undefined, done, silence };
    this.#fetches.set(notice.fetchId, fetch);
    const again = setInterval(() => this.#ask(fetch), ASK_AGAIN_MS);
    this.#ask(fetch);
    try {
      await done.promise;
    } finally {
      clearInterval(again);
      clearTimeout(silence);
      this.#signal.removeEventListener("abort", abort);
      this.#fetches.delete(notice.fetchId);
    }
  }

  /** An adapter hands a piece in. Throws `Conflict` when it is not wanted (any more): hand in nothing more of it. */
  async piece(by: object, channel: string, { fetchId, ...piece }: PieceParams): Promise<void> {
    const fetch = this.#of(fetchId, channel);
    const bytes = Buffer.byteLength(piece.data, "base64");
    // The first who hands it in does so to its end, and may begin anew.
    if (piece.offset === 0 && (fetch.by ?? by) === by) Object.assign(fetch, { by, taken: 0 });
    if (fetch.by !== by || piece.offset !== fetch.taken) throw unwanted();
    if (piece.offset + bytes > fetch.notice.maxBytes) fetch.done.reject(tooLarge());
    try {
      await fetch.take(piece);
      fetch.taken += bytes;
      fetch.silence.refresh();
      if (piece.last) fetch.done.resolve();
    } catch (error) {
      fetch.done.reject(error);
      throw unwanted();
    }
  }

  /** The channel does not have it. */
  refuse(channel: string, { fetchId, reason }: { fetchId: string; reason: string }): void {
    this.#of(fetchId, channel).done.reject(new ArgusError("NotFound", reason));
  }

  /** An adapter of the channel can be asked from now on, also for what another one left unfinished. */
  adapterCame(channel: string): void {
    for (const fetch of this.#fetches.values()) {
      if (fetch.channel !== channel) continue;
      fetch.by = undefined;
      this.#ask(fetch);
    }
  }

  #of(fetchId: string, channel: string): Fetch {
    const fetch = this.#fetches.get(fetchId);
    if (fetch?.channel === channel) return fetch;
    throw unwanted();
  }

  #ask({ by, channel, notice }: Fetch): void {
    if (!by) this.tell(channel, CHANNEL_FILE.fetch, notice);
  }
}

function unwanted(): ArgusError {
  return new ArgusError("Conflict", "This piece of the file is not wanted: hand in nothing more.");
}

function silent(): ArgusError {
  return new ArgusError("Timeout", `the channel gave nothing for ${SILENCE_MS / 1000} s`);
}

function tooLarge(): ArgusError {
  const most = MAX_FILE_IN_BYTES / (1024 * 1024);
  return new ArgusError("TooLarge", `it is larger than ${most} MB`);
}
