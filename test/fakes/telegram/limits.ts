import type { Clock } from "#lib/clock.ts";
import { tooMany } from "./answers.ts";

/**
 * How fast a bot may send. Telegram publishes the averages (about 30 messages a second to all chats, one a second to one chat,
 * 20 a minute to one group) and allows "short bursts" above one a second without saying how many; here three in a row,
 * refilled at one a second. Edits count like messages, as bots observe; typing counts only among all chats; an album counts
 * as many messages as it has. What is refused costs nothing, but the chat stays closed until the time that was named is over.
 */
export interface LimitOptions {
  /** Requests a second to all chats together; also the largest burst. */
  overallPerSecond: number;
  /** Messages a second to one chat. */
  chatPerSecond: number;
  /** Messages to one chat at once, after a pause. */
  chatBurst: number;
  /** Messages in any 60 s to one group. */
  groupPerMinute: number;
}

export const TELEGRAM_RATES: LimitOptions = {
  overallPerSecond: 30,
  chatPerSecond: 1,
  chatBurst: 3,
  groupPerMinute: 20,
};

const MINUTE_MS = 60_000;

export interface Refused {
  chatId: number;
  atMs: number;
  retryAfter: number;
  by: "all" | "chat" | "group";
}

/** A bucket of tokens that fills with time. */
class Bucket {
  readonly #perMs: number;
  readonly #most: number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, most: number, nowMs: number) {
    this.#perMs = perSecond / 1000;
    this.#most = most;
    this.#tokens = most;
    this.#atMs = nowMs;
  }

  /** Milliseconds until `count` can be taken; a count above the bucket's size waits for a full one. */
  waitMs(count: number, nowMs: number): number {
    this.#tokens = Math.min(this.#most, this.#tokens + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
    const missing = Math.min(count, this.#most) - this.#tokens;
    return missing <= 1e-9 ? 0 : missing / this.#perMs;
  }

  take(count: number): void {
    this.#tokens -= count;
  }
}

export class Limits {
  /** Requests that were refused, in order. */
  readonly refused: Refused[] = [];
  readonly #clock: Clock;
  readonly #options: LimitOptions;
  readonly #all: Bucket;
  readonly #chats = new Map<number, Bucket>();
  readonly #groups = new Map<number, number[]>();

  constructor(clock: Clock, options: LimitOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#all = new Bucket(options.overallPerSecond, options.overallPerSecond, clock.now());
  }

  /** Counts messages to a chat; throws the 429 that Telegram would answer. */
  message(chatId: number, count = 1): void {
    const now = this.#clock.now();
    const bucket = this.#chat(chatId, now);
    const sent = (this.#groups.get(chatId) ?? []).filter((at) => at > now - MINUTE_MS);
    this.#refuse(chatId, "chat", bucket.waitMs(count, now));
    if (chatId < 0) this.#refuse(chatId, "group", this.#groupWaitMs(sent, count, now));
    this.#refuse(chatId, "all", this.#all.waitMs(count, now));
    bucket.take(count);
    this.#all.take(count);
    if (chatId < 0)
      this.#groups.set(chatId, [...sent, ...Array.from({ length: count }, () => now)]);
  }

  /** Counts a request that shows nothing lasting. */
  action(chatId: number): void {
    this.#refuse(chatId, "all", this.#all.waitMs(1, this.#clock.now()));
    this.#all.take(1);
  }

  #chat(chatId: number, now: number): Bucket {
    const { chatPerSecond, chatBurst } = this.#options;
    const bucket = this.#chats.get(chatId) ?? new Bucket(chatPerSecond, chatBurst, now);
    this.#chats.set(chatId, bucket);
    return bucket;
  }

  #groupWaitMs(sent: number[], count: number, now: number): number {
    const over = sent.length + count - this.#options.groupPerMinute;
    if (over <= 0) return 0;
    return (sent[Math.min(over, sent.length) - 1] ?? now) + MINUTE_MS - now;
  }

  #refuse(chatId: number, by: Refused["by"], waitMs: number): void {
    if (waitMs <= 0) return;
    const retryAfter = Math.max(1, Math.ceil(waitMs / 1000));
    this.refused.push({ chatId, atMs: this.#clock.now(), retryAfter, by });
    throw tooMany(retryAfter);
  }
}
