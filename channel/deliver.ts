import { z } from "zod";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import {
  CHANNEL,
  HeldResult,
  MAX_PAUSE_MS,
  type NextResult,
  OutcomeResult,
  type PartOutcome,
} from "#protocol/channel.ts";
import type { Delivery } from "#protocol/delivery.ts";
import type { Link } from "./link.ts";
import { AGAIN_MARK, type Part, type Sender } from "./sender.ts";

const Anything = z.unknown();
const MAX_WORDS = 300;

export interface Delivering {
  link: Pick<Link, "insist">;
  sender: Sender;
  /** Permission to send is worth nothing after this: a process that was stopped meanwhile asks again. */
  leaseMs: number;
  /** A clock that goes on while the process is stopped. */
  now: () => number;
  /** Aborts when no further part shall begin. */
  stopping: AbortSignal;
  /** Aborts when the one under way shall end too. */
  signal: AbortSignal;
}

/**
 * Sends the rest of a claimed delivery: for each part commit `sending`, one request, commit the outcome. Resolves when the
 * delivery is over or waits again. Throws `Conflict` when somebody else has it; nothing was sent then.
 */
export async function deliver(claimed: NextResult, options: Delivering): Promise<void> {
  let delivery: Delivery | undefined = claimed.delivery;
  while (delivery) {
    if (options.stopping.aborted) return await giveBack(delivery, options);
    const part = partOf(delivery, claimed.sessionId, options.sender);
    delivery =
      "why" in part
        ? await tell(delivery, { state: "refused", reason: part.why }, options)
        : await sendPart(part, options);
  }
}

/** The next part; `why` = there is none, for a defect of the channel. */
function partOf(delivery: Delivery, sessionId: string, sender: Sender): Part | { why: string } {
  try {
    const texts = sender.parts(delivery);
    const number = delivery.sent.length;
    const text = texts[number];
    const facts = { delivery, sessionId, number, parts: texts.length };
    if (text !== undefined) return { ...facts, text, key: `${delivery.id}.${number}` };
    return { why: `the channel makes ${texts.length} parts of it, and ${number} were sent before` };
  } catch (error) {
    return { why: `the channel cannot make parts of it: ${words(error)}` };
  }
}

async function sendPart(part: Part, options: Delivering): Promise<Delivery | undefined> {
  const { delivery, number, parts } = part;
  const { sender, signal, stopping } = options;
  await sender.turn?.(part, stopping).catch(() => undefined);
  if (stopping.aborted) return delivery;
  const mode = number === 0 && delivery.editRef !== undefined ? "edit" : "send";
  await permission({ deliveryId: delivery.id, part: number, parts, mode }, options);
  const mark = delivery.again ? AGAIN_MARK : "";
  const outcome = await sender
    .send(part, { mode, mark, signal })
    .catch((error: unknown): PartOutcome => ({ state: "unknown", reason: words(error) }));
  return await tell(delivery, outcome, options);
}

/** From its return on the request may leave; it leaves at once. */
async function permission(params: object, options: Delivering): Promise<void> {
  const { link, leaseMs, now, signal } = options;
  for (;;) {
    const askedAt = now();
    await link.insist({ method: CHANNEL.sending, params, result: Anything }, signal);
    // Half a lease: a process that was stopped asks again, and hears that it was replaced.
    if (now() - askedAt < leaseMs / 2) return;
  }
}

async function tell(
  { id, sent }: Delivery,
  outcome: PartOutcome,
  { link, signal }: Delivering,
): Promise<Delivery | undefined> {
  const params = { deliveryId: id, part: sent.length, outcome: bounded(outcome) };
  try {
    const asked = { method: CHANNEL.outcome, params, result: OutcomeResult };
    return (await link.insist(asked, signal)).delivery;
  } catch (error) {
    // An earlier try was taken and its answer lost, or somebody took over: the gateway knows what to make of it.
    if (error instanceof ArgusError && error.code === "Conflict") return undefined;
    throw error;
  }
}

/** The gateway takes no longer words and no longer pause. */
function bounded(outcome: PartOutcome): PartOutcome {
  if (!("reason" in outcome)) return outcome;
  const short = { ...outcome, reason: outcome.reason.slice(0, MAX_WORDS) };
  if (short.state !== "notSent" || short.retryAfterMs === undefined) return short;
  return { ...short, retryAfterMs: Math.min(short.retryAfterMs, MAX_PAUSE_MS) };
}

async function giveBack({ id }: Delivery, { link, signal }: Delivering): Promise<void> {
  const params = { deliveryIds: [id] };
  await link.insist({ method: CHANNEL.release, params, result: HeldResult }, signal);
}

function words(error: unknown): string {
  return errorMessage(error).slice(0, MAX_WORDS);
}
