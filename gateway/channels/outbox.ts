import { MAX_TIMER_MS } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { Lane } from "../lanes/lane.ts";
import type { DocumentWatcher } from "../lanes/lanes.ts";
import { afterClock } from "../state/clock.ts";
import { expireDeliveries } from "../state/deliveries.ts";
import { type Claimant, isHeld } from "../state/outbox.ts";
import { dueAt, type Head, headsOf } from "./heads.ts";

/** A time that has come and changed nothing is looked at again after this. */
const LOOK_AGAIN_MS = 1000;

/** What an outbox needs of a session's lane. */
export type Holder = Pick<Lane, "state" | "limit" | "ask">;

interface Entry {
  lane: Holder;
  name: string;
  deliveries: SessionDocument["deliveries"];
  heads: Head[];
  timer: NodeJS.Timeout | undefined;
}

export interface OutboxOptions {
  logger: Logger;
  /** Something of the channel may be claimed now that could not before. */
  onReady: (channel: string) => void;
  now?: () => number;
}

/**
 * Which deliveries of all sessions may be sent, by channel, in the order in which they came to the head of their chat. It
 * follows from the documents alone and is told of each of their versions; times are timers, nothing is polled.
 */
export class Outbox implements DocumentWatcher {
  readonly #options: OutboxOptions;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  /** Channel → key → head, first come first. */
  readonly #channels = new Map<string, Map<string, Head>>();
  /** Heads that somebody is claiming. */
  readonly #taken = new Set<string>();
  #closed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  changed(uid: string, lane: Holder, name: string): void {
    const { deliveries } = lane.state.current;
    const known = this.#entries.get(uid);
    if (this.#closed || known?.deliveries === deliveries || (!known && deliveries.length === 0))
      return;
    const entry = known ?? { lane, name, deliveries, heads: [], timer: undefined };
    this.#entries.set(uid, entry);
    entry.deliveries = deliveries;
    this.#look(uid, entry);
  }

  gone(uid: string): void {
    const entry = this.#entries.get(uid);
    if (!entry) return;
    clearTimeout(entry.timer);
    for (const head of entry.heads) this.#remove(head);
    this.#entries.delete(uid);
  }

  /** The first head of the channel that `by` may claim and that `skip` does not name; it is the caller's until {@link give}. */
  take(channel: string, by: Claimant, skip: (head: Head) => boolean): Head | undefined {
    const now = this.#now();
    for (const head of this.#channels.get(channel)?.values() ?? []) {
      const { notBefore, claim } = head.delivery;
      if (notBefore > now || isHeld(claim, by, now)) continue;
      if (this.#taken.has(head.key) || skip(head)) continue;
      this.#taken.add(head.key);
      return head;
    }
    return undefined;
  }

  /** Whatever became of the claim stands in the document. */
  give({ key, delivery }: Head): void {
    this.#taken.delete(key);
    this.#options.onReady(delivery.target.channel);
  }

  /** The lane of a session that has open deliveries. */
  holder(uid: string): { lane: Holder; name: string } | undefined {
    return this.#entries.get(uid);
  }

  /** Heads that the adapter's process has claimed. */
  claimedBy(channel: string, { adapter, epoch }: Claimant): Head[] {
    const heads = [...(this.#channels.get(channel)?.values() ?? [])];
    return heads.filter(
      ({ delivery: { claim } }) => claim?.adapter === adapter && claim.epoch === epoch,
    );
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#entries.values()) clearTimeout(timer);
    this.#entries.clear();
    this.#channels.clear();
  }

  #look(uid: string, entry: Entry): void {
    clearTimeout(entry.timer);
    const document = entry.lane.state.current;
    const heads = headsOf(uid, document);
    const keys = new Set(heads.map(({ key }) => key));
    for (const head of entry.heads) if (!keys.has(head.key)) this.#remove(head);
    for (const head of heads) this.#put(head);
    entry.heads = heads;
    if (heads.length === 0) this.#entries.delete(uid);
    else this.#arm(uid, entry);
    const channels = new Set(heads.map(({ delivery }) => delivery.target.channel));
    for (const channel of channels) this.#options.onReady(channel);
  }

  #arm(uid: string, entry: Entry): void {
    const now = this.#now();
    const due = dueAt(entry.heads, entry.lane.state.current, now);
    const ms = due === undefined ? LOOK_AGAIN_MS : Math.min(due - now, MAX_TIMER_MS);
    entry.timer = setTimeout(() => void this.#timePassed(uid, entry), ms);
  }

  async #timePassed(uid: string, entry: Entry): Promise<void> {
    const { lane, name } = entry;
    const now = this.#now();
    try {
      await lane.state.update((document) =>
        expireDeliveries(afterClock(document, now), now, lane.limit),
      );
    } catch (error) {
      const facts = { session: name, error: errorMessage(error) };
      this.#options.logger.error(facts, "old deliveries could not be given up; trying again");
    }
    if (this.#entries.get(uid) === entry && !this.#closed) this.#look(uid, entry);
  }

  /** A chat that stays keeps its place. */
  #put(head: Head): void {
    const { channel } = head.delivery.target;
    const heads = this.#channels.get(channel) ?? new Map<string, Head>();
    this.#channels.set(channel, heads);
    const former = heads.get(head.key);
    // Its next delivery queues up behind the other chats.
    if (former && former.delivery.id !== head.delivery.id) heads.delete(head.key);
    heads.set(head.key, head);
  }

  #remove({ key, delivery }: Head): void {
    const { channel } = delivery.target;
    const heads = this.#channels.get(channel);
    heads?.delete(key);
    if (heads?.size === 0) this.#channels.delete(channel);
  }
}
