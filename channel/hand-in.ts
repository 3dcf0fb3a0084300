import { z } from "zod";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { CHANNEL_FILE, type FetchNotice } from "#protocol/channel-files.ts";
import { CHUNK_BYTES } from "#protocol/workspace-files.ts";
import type { Link } from "./link.ts";

/** Files that are handed in at once; further ones are asked for again. */
const MAX_AT_ONCE = 4;
/** A channel that fails on the way is asked for the file so often. */
const MAX_TRIES = 4;
const RETRY = { baseMs: 500, maxMs: 5000 };
const Anything = z.unknown();

/** The channel's file by its id. Throws `NotFound` or `TooLarge` where another try changes nothing; the words are for the person. */
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
      await this.#insist(notice, AbortSignal.any([over.signal, this.#signal]));
    } catch (error) {
      // It asks again for what it still wants.
      if (!(error instanceof Unwanted)) await this.#refuse(fetchId, errorMessage(error));
    } finally {
      over.abort();
      this.#under.delete(fetchId);
    }
  }

  async #insist({ fetchId, fileId, maxBytes }: FetchNotice, signal: AbortSignal): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#give(fetchId, await this.#open({ fileId, maxBytes }, signal));
      } catch (error) {
        if (signal.aborted || tries >= MAX_TRIES || isFinal(error)) throw error;
        await systemClock.sleep(backoffMs(tries, RETRY), signal);
      }
    }
  }

  async #give(fetchId: string, file: AsyncIterable<Uint8Array>): Promise<void> {
    let offset = 0;
    for await (const { bytes, last } of pieces(file)) {
      const data = bytes.toString("base64");
      await this.#link
        .ask(CHANNEL_FILE.piece, { fetchId, offset, data, last }, Anything)
        .catch((error: unknown) => {
          throw new Unwanted(error);
        });
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

/** The gateway took no piece: it wants no more of the file, or its connection is gone. */
class Unwanted extends Error {
  constructor(cause: unknown) {
    super("the gateway took no piece", { cause });
  }
}

function isFinal(error: unknown): boolean {
  if (error instanceof Unwanted) return true;
  return error instanceof ArgusError && ["NotFound", "TooLarge"].includes(error.code);
}
