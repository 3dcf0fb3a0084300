import { z } from "zod";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { CHANNEL_FILE, type FetchNotice } from "#protocol/channel-files.ts";
import { CHUNK_BYTES } from "#protocol/workspace-files.ts";
import type { Link } from "./link.ts";

/** Files that are handed in at once; further ones are asked for again. */
const MAX_AT_ONCE = 4;
const Anything = z.unknown();

/** The channel's file by its id. What it throws before its first byte is told to the person who sent the file. */
export type OpenFile = (
  wanted: { fileId: string; maxBytes: number },
  signal: AbortSignal,
) => Promise<AsyncIterable<Uint8Array>>;

/** Files of the channel on their way to the gateway, each in pieces, one piece at a time. */
export class HandIn {
  readonly #link: Pick<Link, "ask">;
  readonly #open: OpenFile;
  readonly #signal: AbortSignal;
  readonly #under = new Set<string>();

  constructor(link: Pick<Link, "ask">, open: OpenFile, signal: AbortSignal) {
    this.#link = link;
    this.#open = open;
    this.#signal = signal;
  }

  /** The gateway wants a file. Never throws: it asks again for what did not come. */
  async wanted(notice: FetchNotice): Promise<void> {
    const { fetchId } = notice;
    if (this.#under.has(fetchId) || this.#under.size >= MAX_AT_ONCE) return;
    this.#under.add(fetchId);
    const over = new AbortController();
    try {
      const file = await this.#opened(notice, AbortSignal.any([over.signal, this.#signal]));
      await this.#give(fetchId, file);
    } catch (error) {
      if (!isConflict(error)) await this.#refuse(fetchId, errorMessage(error));
    } finally {
      over.abort();
      this.#under.delete(fetchId);
    }
  }

  async #opened(notice: FetchNotice, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { fileId, maxBytes } = notice;
    return await this.#open({ fileId, maxBytes }, signal);
  }

  async #give(fetchId: string, file: AsyncIterable<Uint8Array>): Promise<void> {
    let offset = 0;
    for await (const { bytes, last } of pieces(file)) {
      const data = bytes.toString("base64");
      await this.#link.ask(CHANNEL_FILE.piece, { fetchId, offset, data, last }, Anything);
      offset += bytes.length;
    }
  }

  async #refuse(fetchId: string, reason: string): Promise<void> {
    if (this.#signal.aborted) return;
    const params = { fetchId, reason: reason.slice(0, 300) };
    await this.#link.ask(CHANNEL_FILE.none, params, Anything).catch(() => undefined);
  }
}

/** The same bytes in pieces of one size; the last one is marked and may be empty. */
async function* pieces(file: AsyncIterable<Uint8Array>) {
  let rest = Buffer.alloc(0);
  for await (const bytes of file) {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length > CHUNK_BYTES) {
      yield { bytes: rest.subarray(0, CHUNK_BYTES), last: false };
      rest = rest.subarray(CHUNK_BYTES);
    }
  }
  yield { bytes: rest, last: true };
}

/** The gateway wants no more of it, or its connection is gone: it will ask again. */
function isConflict(error: unknown): boolean {
  return error instanceof ArgusError && ["Conflict", "Unavailable"].includes(error.code);
}
