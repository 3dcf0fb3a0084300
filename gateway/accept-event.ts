import { randomUUID } from "node:crypto";
import type { EventRequest } from "#protocol/events.ts";
import type { EventSource } from "#protocol/lane-entry.ts";
import type { Lane } from "./lanes/lane.ts";
import { type EventAccepted, enqueueEvent } from "./state/events.ts";

/** An event of a sender that was identified. */
export interface WantedEvent extends Omit<EventRequest, "sessionId" | "source"> {
  source: EventSource;
}

/** Commits the event, then lets the lane look. Throws as {@link enqueueEvent}; then nothing was accepted. */
export async function acceptEvent(lane: Lane, wanted: WantedEvent): Promise<EventAccepted> {
  const id = randomUUID().replaceAll("-", "");
  const { key = `once/${id}`, kind, text, meta, wakes, slot, source, target, threadId } = wanted;
  const accepted = await lane.state.reduce((document) =>
    enqueueEvent(document, {
      id,
      key,
      kind,
      text,
      wakes,
      source,
      threadId: target === "main" ? null : (threadId ?? null),
      ...(meta ? { meta: JSON.stringify(meta) } : {}),
      ...(slot ? { slot } : {}),
      policy: wanted.concurrencyPolicy,
      now: Date.now(),
      limit: lane.limit,
    }),
  );
  lane.wake();
  return accepted;
}
