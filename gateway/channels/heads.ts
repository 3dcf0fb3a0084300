import type { Delivery } from "#protocol/delivery.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { expiresAt } from "../state/deliveries.ts";

/** The one delivery of a chat that may be sent next. */
export interface Head {
  key: string;
  uid: string;
  delivery: Delivery;
}

/** The first delivery of each chat of the session. Pure. */
export function headsOf(uid: string, { deliveries }: SessionDocument): Head[] {
  const heads = new Map<string, Head>();
  for (const delivery of deliveries) {
    const { channel, chatKey } = delivery.target;
    const key = `${uid} ${channel} ${chatKey}`;
    if (!heads.has(key)) heads.set(key, { key, uid, delivery });
  }
  return [...heads.values()];
}

/** When time alone changes something for these deliveries; undefined = never. Pure. */
export function dueAt(heads: readonly Head[], { deliveries }: SessionDocument, now: number) {
  const times = [
    ...heads.flatMap(({ delivery: { notBefore, claim } }) => [notBefore, claim?.until ?? 0]),
    ...deliveries.map((each) => expiresAt(each) + 1),
  ].filter((time) => time > now);
  return times.length > 0 ? times.reduce((least, time) => Math.min(least, time)) : undefined;
}
