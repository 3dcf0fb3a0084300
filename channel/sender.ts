import type { PartOutcome } from "#protocol/channel.ts";
import type { Delivery, SendMode } from "#protocol/delivery.ts";

export const AGAIN_MARK = "↻";

/** One part of a delivery, as the channel sends it. */
export interface Part {
  delivery: Delivery;
  /** Name of the session that speaks. */
  sessionId: string;
  /** From 0. */
  number: number;
  parts: number;
  text: string;
  /** The same for every try of the part. */
  key: string;
}

export interface SendFacts {
  mode: SendMode;
  /** {@link AGAIN_MARK} for the second try of a part that may have arrived, else empty. */
  mark: string;
  signal: AbortSignal;
}

/** What a channel does; the rest of an adapter is the same for all. */
export interface Sender {
  /** The texts of the delivery's parts: at least one, at most `MAX_PARTS`, and the same after every restart. */
  parts(delivery: Delivery): string[];
  /**
   * Resolves when the channel's rates let the part go; at once when there are none. Waiting here, before the gateway writes down that
   * the part is on its way, a process may die without anybody wondering whether it was sent.
   */
  turn?(part: Part, signal: AbortSignal): Promise<void>;
  /** One request, one try: `edit` changes the message `delivery.editRef`. What it throws counts as `unknown`. */
  send(part: Part, facts: SendFacts): Promise<PartOutcome>;
}
