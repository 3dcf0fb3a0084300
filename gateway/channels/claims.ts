import { systemClock } from "#lib/clock.ts";
import { LEASE_MS, type NextResult } from "#protocol/channel.ts";
import type { Delivery } from "#protocol/delivery.ts";
import { type Claimant, claim, release } from "../state/outbox.ts";
import type { AdapterConnection } from "./adapter-connection.ts";
import type { Head } from "./heads.ts";

/** A claim that the disk did not take is tried again after this. */
const FAILED_PAUSE_MS = 1000;

/** Claims the head. Undefined: it is not for this adapter now; the document says why. Never throws. */
export async function claimNext(
  connection: AdapterConnection,
  by: Claimant,
  { uid, delivery: { id } }: Head,
): Promise<NextResult | undefined> {
  const { outbox } = connection.channels;
  const holder = outbox.holder(uid);
  try {
    const { lane, name } = holder ?? {};
    const { channel } = connection;
    const facts = { id, by, channel, leaseMs: LEASE_MS, now: Date.now(), limit: lane?.limit ?? 0 };
    const delivery = await lane?.state.reduce((document) => claim(document, facts));
    if (delivery && !connection.isOver) return { sessionId: name ?? "", delivery };
    // Nobody hears of it any more.
    if (delivery) await lane?.state.update((document) => release(document, id, by));
  } catch (error) {
    connection.failed(error);
    await systemClock.sleep(FAILED_PAUSE_MS);
  }
  connection.held.delete(id);
  return undefined;
}

/** After a lost connection: what the process names and still holds is its own again, the rest is given back. */
export async function takeUp(
  connection: AdapterConnection,
  by: Claimant,
  holding: readonly string[],
): Promise<Delivery[]> {
  const { outbox } = connection.channels;
  const held: Delivery[] = [];
  for (const { uid, delivery } of outbox.claimedBy(connection.channel, by)) {
    const { id, target } = delivery;
    if (holding.includes(id)) {
      connection.held.set(id, { uid, chatKey: target.chatKey });
      held.push(delivery);
    } else {
      // The answer to its claim was lost.
      await outbox.holder(uid)?.lane.state.update((document) => release(document, id, by));
    }
  }
  return held;
}
