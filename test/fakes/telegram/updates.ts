import type { Clock } from "#lib/clock.ts";
import { ApiError, badRequest, conflict, Described } from "./answers.ts";
import { Webhook, type WebhookOptions } from "./webhook.ts";

export type Update = { update_id: number } & Record<string, unknown>;

interface Queued {
  update: Update;
  expiresMs: number;
}

interface Poll {
  answer: (updates: Update[]) => void;
  refuse: (error: ApiError) => void;
  limit: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const MAX_POLL_SECONDS = 50;
/** Sent only to bots that name them. */
const ON_REQUEST = new Set(["chat_member", "message_reaction", "message_reaction_count"]);

/**
 * The updates of a bot, as getUpdates and webhooks see them: kept for a day, gone once an offset above them was asked for or a
 * webhook took them; one poll at a time, a newer one ends the older one; none while a webhook is set.
 */
export class Updates {
  /** PEM of a certificate that webhooks may have. */
  trusted: string | undefined;
  readonly #clock: Clock;
  #queue: Queued[] = [];
  #nextId: number;
  #allowed: Set<string> | undefined;
  #poll: Poll | undefined;
  #webhook: Webhook | undefined;

  constructor(clock: Clock, firstId: number) {
    this.#clock = clock;
    this.#nextId = firstId;
  }

  /** Its id; undefined when the bot did not ask for such updates. */
  push(type: string, payload: unknown): number | undefined {
    if (this.#allowed ? !this.#allowed.has(type) : ON_REQUEST.has(type)) return undefined;
    const update = { update_id: this.#nextId++, [type]: payload };
    this.#queue.push({ update, expiresMs: this.#clock.now() + DAY_MS });
    this.#deliver();
    return update.update_id;
  }

  /** Those that the bot has not confirmed. */
  get pending(): Update[] {
    this.#expire();
    return this.#queue.map(({ update }) => update);
  }

  /** Whether a getUpdates waits for one. */
  get polled(): boolean {
    return this.#poll !== undefined;
  }

  allow(types: unknown): void {
    if (!Array.isArray(types)) return;
    this.#allowed = types.length === 0 ? undefined : new Set(types.map(String));
  }

  async get(options: {
    offset: number;
    limit: number;
    timeout: number;
    signal: AbortSignal;
  }): Promise<Update[]> {
    if (this.#webhook) {
      throw conflict(
        "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
      );
    }
    this.#endPoll(
      "terminated by other getUpdates request; make sure that only one bot instance is running",
    );
    this.#confirm(options.offset);
    const limit = Math.min(100, Math.max(1, options.limit || 100));
    const ready = this.pending.slice(0, limit);
    if (ready.length > 0 || options.timeout <= 0) return ready;
    return await this.#wait(limit, Math.min(options.timeout, MAX_POLL_SECONDS), options.signal);
  }

  setWebhook(options: WebhookOptions & { dropPending: boolean }): Described {
    if (!/^[\w-]{0,256}$/.test(options.secret)) {
      throw badRequest("secret token contains unallowed characters");
    }
    if (options.url && !URL.canParse(options.url)) {
      throw badRequest("invalid webhook URL specified");
    }
    const before = this.#webhook;
    if (options.dropPending) this.#queue = [];
    if (before?.url === options.url && before.secret === options.secret) {
      return new Described(true, "Webhook is already set");
    }
    if (options.url) this.#endPoll("terminated by setWebhook request");
    void before?.stop();
    this.#webhook = options.url
      ? new Webhook(options, this.#clock, {
          next: () => this.pending[0],
          taken: (id) => this.#confirm(id + 1),
          trusted: () => this.trusted,
        })
      : undefined;
    this.#webhook?.wake();
    if (options.url) return new Described(true, "Webhook was set");
    return new Described(true, before ? "Webhook was deleted" : "Webhook is already deleted");
  }

  webhookInfo(): Record<string, unknown> {
    return {
      url: this.#webhook?.url ?? "",
      has_custom_certificate: false,
      pending_update_count: this.pending.length,
      ...(this.#webhook && { max_connections: 40, ...this.#webhook.lastError }),
      ...(this.#allowed && { allowed_updates: [...this.#allowed] }),
    };
  }

  async stop(): Promise<void> {
    this.#poll?.answer([]);
    await this.#webhook?.stop();
  }

  #deliver(): void {
    this.#webhook?.wake();
    const poll = this.#poll;
    if (!poll) return;
    this.#poll = undefined;
    poll.answer(this.pending.slice(0, poll.limit));
  }

  #endPoll(reason: string): void {
    const poll = this.#poll;
    this.#poll = undefined;
    poll?.refuse(conflict(reason));
  }

  /** A positive offset forgets all updates before it, a negative one all but the last so many. */
  #confirm(offset: number): void {
    if (offset > 0) this.#queue = this.#queue.filter(({ update }) => update.update_id >= offset);
    if (offset < 0) this.#queue = this.#queue.slice(offset);
  }

  #expire(): void {
    const now = this.#clock.now();
    this.#queue = this.#queue.filter(({ expiresMs }) => expiresMs > now);
  }

  async #wait(limit: number, timeout: number, signal: AbortSignal): Promise<Update[]> {
    const { promise, resolve, reject } = Promise.withResolvers<Update[]>();
    const poll = { answer: resolve, refuse: reject, limit };
    this.#poll = poll;
    const ended = new AbortController();
    const timer = this.#clock.sleep(timeout * 1000, AbortSignal.any([ended.signal, signal]));
    // The time is over, or the client has left: either way this poll takes nothing more.
    const over = () => {
      if (this.#poll === poll) this.#poll = undefined;
      resolve([]);
    };
    timer.then(over, over);
    try {
      return await promise;
    } finally {
      ended.abort();
    }
  }
}
