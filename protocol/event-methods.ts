import { z } from "zod";
import { EventRequest } from "./events.ts";

/** `argus/event/enqueue`, and `argus/systemEvent/enqueue` of the seed's clients: an event of the client's own session. */
export const EventParams = EventRequest.omit({ sessionId: true, source: true, slot: true });

/** `argus/event/replay` and `argus/event/drop`. */
export const EventKeyParams = z.object({ key: z.string().min(1).max(512) });

/** `argus/event/list`; without `state` all of them. */
export const EventListParams = z.object({
  state: z.enum(["Queued", "Running", "Succeeded", "DeadLettered", "Skipped"]).optional(),
  limit: z.int().min(1).max(1000).default(100),
});

/** `argus/event/ended` to every client of the session: params are the event's row. */
export const EVENT_ENDED = "argus/event/ended";
