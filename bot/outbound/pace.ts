import { remember } from "#lib/remember.ts";

/** Below what Telegram allows: it says neither how long its bursts may be nor how it counts. */
const OVERALL_PER_SECOND = 25;
/** What shows nothing lasting, such as typing, comes on top. */
const ASIDES_PER_SECOND = 4;
const CHAT_BURST = 2;
const CHAT_MS = 1050;
const GROUP_PER_MINUTE = 18;
const MINUTE_MS = 60_000;
/** Chats whose times are remembered; a forgotten one begins anew, long after its last message. */
const MAX_CHATS = 10_000;

/** When the next message may leave: to all chats together, to one chat, to one group. */
export class Pace {
  readonly #now: () => number;
  readonly #chats = new Map<number, number[]>();
  /** Chat → until when Telegram wants no message to it. */
  readonly #paused = new Map<number, number>();
  #overallAt = 0;
  #asideAt = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Takes the next place for the chat; the answer is how long to wait for it, ms. */
  reserve(chatId: number): number {
    const now = this.#now();
    const at = Math.max(now, this.#chatAt(chatId), this.#overallAt);
    this.#overallAt = Math.max(this.#overallAt, now) + 1000 / OVERALL_PER_SECOND;
    this.#remember(chatId, at, now);
    return at - now;
  }

  /** The next place for something that may as well be left out: how long to wait for it, ms; undefined = longer than `mostMs`, and none is taken. */
  aside(mostMs: number): number | undefined {
    const now = this.#now();
    const at = Math.max(now, this.#asideAt);
    if (at - now > mostMs) return undefined;
    this.#asideAt = at + 1000 / ASIDES_PER_SECOND;
    return at - now;
  }

  /** Telegram named a pause for the chat. */
  pause(chatId: number, ms: number): void {
    const until = this.#now() + ms;
    remember(this.#paused, chatId, Math.max(until, this.#paused.get(chatId) ?? 0), MAX_CHATS);
    // As if its whole burst were over then.
    const times = Array.from({ length: CHAT_BURST }, () => until - CHAT_MS);
    this.#chats.set(chatId, [...(this.#chats.get(chatId) ?? []), ...times]);
  }

  /** How long the chat's pause still lasts, ms; 0 = there is none. */
  pausedFor(chatId: number): number {
    return Math.max(0, (this.#paused.get(chatId) ?? 0) - this.#now());
  }

  #chatAt(chatId: number): number {
    const times = this.#chats.get(chatId) ?? [];
    const burst = (times.at(-CHAT_BURST) ?? Number.NEGATIVE_INFINITY) + CHAT_BURST * CHAT_MS;
    const last = (times.at(-1) ?? Number.NEGATIVE_INFINITY) + (times.length < CHAT_BURST ? 0 : 1);
    const group = chatId < 0 ? (times.at(-GROUP_PER_MINUTE) ?? Number.NEGATIVE_INFINITY) : 0;
    return Math.max(burst, last, chatId < 0 ? group + MINUTE_MS : 0);
  }

  #remember(chatId: number, at: number, now: number): void {
    const times = (this.#chats.get(chatId) ?? []).filter((each) => each > now - MINUTE_MS);
    remember(this.#chats, chatId, [...times, at], MAX_CHATS);
  }
}
