import type { Update } from "grammy/types";

/** Updates of a chat that are posted side by side are put in order: so long the first one waits. */
const ORDER_MS = 30;
/** The pieces of an album come one by one: each lets the others wait so long, all together at most some times that. */
const ALBUM_MS = 600;
const MAX_ALBUM_MS = 3000;
/** Updates that are not taken yet; further ones come again. */
export const MAX_WAITING = 1000;
/** Updates that were taken lately; Telegram may not have heard it. */
const MAX_TAKEN = 10_000;

interface Waiting {
  update: Update;
  done: PromiseWithResolvers<void>;
}
interface Chat {
  waiting: Waiting[];
  since: number;
  timer: NodeJS.Timeout | undefined;
  isBusy: boolean;
}

/** Takes updates that are posted one by one: each chat's in its order, an album as one, a repeat only once. */
export class Gather {
  readonly #take: (updates: Update[]) => Promise<void>;
  readonly #chats = new Map<number, Chat>();
  readonly #open = new Map<number, Promise<void>>();
  readonly #taken = new Set<number>();

  /** `take` resolves when everything in the updates is durable. */
  constructor(take: (updates: Update[]) => Promise<void>) {
    this.#take = take;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Resolves when the update is durable, also by an earlier post of it. Rejects when it was not taken: post it again. */
  add(update: Update): Promise<void> {
    const { update_id: id } = update;
    if (this.#taken.has(id)) return Promise.resolve();
    const known = this.#open.get(id);
    if (known) return known;
    const done = Promise.withResolvers<void>();
    const noted = done.promise.then(() => this.#remember(id)).finally(() => this.#open.delete(id));
    this.#open.set(id, noted);
    this.#queue(chatOf(update), { update, done });
    return noted;
  }

  #queue(id: number, waiting: Waiting): void {
    const now = Date.now();
    const fresh = { waiting: [], since: now, timer: undefined, isBusy: false };
    const chat: Chat = this.#chats.get(id) ?? fresh;
    this.#chats.set(id, chat);
    if (chat.waiting.length === 0) chat.since = now;
    chat.waiting.push(waiting);
    this.#arm(id, chat);
  }

  #arm(id: number, chat: Chat): void {
    clearTimeout(chat.timer);
    if (chat.isBusy) return;
    const isAlbum = chat.waiting.some(({ update }) => update.message?.media_group_id !== undefined);
    const left = MAX_ALBUM_MS - (Date.now() - chat.since);
    const pauseMs = isAlbum ? Math.min(ALBUM_MS, left) : ORDER_MS;
    chat.timer = setTimeout(() => void this.#serve(id, chat), Math.max(0, pauseMs));
  }

  async #serve(id: number, chat: Chat): Promise<void> {
    const batch = chat.waiting.splice(0);
    batch.sort((a, b) => a.update.update_id - b.update.update_id);
    chat.isBusy = true;
    try {
      await this.#take(batch.map(({ update }) => update));
      for (const { done } of batch) done.resolve();
    } catch (error) {
      for (const { done } of batch) done.reject(error);
    }
    chat.isBusy = false;
    if (chat.waiting.length > 0) this.#arm(id, chat);
    else this.#chats.delete(id);
  }

  #remember(id: number): void {
    this.#taken.add(id);
    const [oldest] = this.#taken;
    if (this.#taken.size > MAX_TAKEN && oldest !== undefined) this.#taken.delete(oldest);
  }
}

/** The chat whose order an update belongs to; 0 = none. */
export function chatOf(update: Update): number {
  const { message, edited_message: edited, callback_query: pressed } = update;
  return message?.chat.id ?? edited?.chat.id ?? pressed?.message?.chat.id ?? 0;
}
