import { z } from "zod";
import type { Lane } from "../lanes/lane.ts";
import { dropDelivery, sendNow, waitsFor } from "../state/deliveries.ts";
import type { Method } from "./method.ts";

export const deliveryMethods: Record<string, Method> = {
  "argus/delivery/list": listDeliveries,
  "argus/delivery/retry": retry,
  "argus/delivery/drop": drop,
};

const DeliveryParams = z.object({ deliveryId: z.string().min(1).max(64) });

/** Open deliveries with what each waits for, and how the others ended, the oldest first. */
async function listDeliveries(lane: Lane) {
  const { deliveries, endedDeliveries } = lane.state.current;
  const now = Date.now();
  const open = deliveries.map((each) => ({ ...each, waitsFor: waitsFor(each, now) }));
  return { ok: true, deliveries: open, ended: endedDeliveries };
}

async function retry(lane: Lane, params: unknown) {
  const { deliveryId: id } = DeliveryParams.parse(params);
  const facts = { id, now: Date.now(), limit: lane.limit };
  const delivery = await lane.state.reduce((document) => sendNow(document, facts));
  return { ok: true, delivery };
}

async function drop(lane: Lane, params: unknown) {
  const { deliveryId: id } = DeliveryParams.parse(params);
  const facts = { id, reason: "given up by a person", now: Date.now(), limit: lane.limit };
  await lane.state.update((document) => dropDelivery(document, facts));
  return { ok: true, deliveryId: id };
}
