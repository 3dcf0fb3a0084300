import { ArgusError } from "#lib/errors.ts";
import type { Claimant } from "../state/outbox.ts";
import type { AdapterConnection } from "./adapter-connection.ts";
import type { Holder } from "./outbox.ts";

/** Throws `Conflict` when this connection does not hold the delivery (any more). */
export function holding(connection: AdapterConnection, id: string): { by: Claimant; lane: Holder } {
  const { by, held, channels } = connection;
  const lane = channels.outbox.holder(held.get(id)?.uid ?? "")?.lane;
  const found = lane?.state.current.deliveries.find((each) => each.id === id);
  if (by && lane && found?.claim?.adapter === by.adapter && found.claim.epoch === by.epoch) {
    return { by, lane };
  }
  held.delete(id);
  const words = `Delivery ${id} is not claimed by this connection (any more): send nothing of it.`;
  throw new ArgusError("Conflict", words, { delivery: id });
}
