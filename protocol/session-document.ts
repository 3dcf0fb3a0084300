import { z } from "zod";
import { Ask, MAX_ASKS } from "./ask.ts";
import { Delivery, EndedDelivery } from "./delivery.ts";
import {
  EndedEvent,
  EndedInput,
  LaneEvent,
  LaneInput,
  MAX_ENDED,
  MAX_OPEN_EVENTS,
  MAX_OPEN_INPUTS,
  OpenTurn,
  Source,
} from "./lane-entry.ts";
import { EndedCall, MAX_ENDED_CALLS, MAX_QUEUED_CALLS, QueuedCall } from "./queued-call.ts";

export const MAX_OPEN_DELIVERIES = 500;
/** Threads of which it is remembered what they were told; another one is told everything. */
export const MAX_TOLD_THREADS = 50;

/** Which version of each context file a thread has in its history: name → digest. */
export const Told = z.object({
  threadId: z.string().max(512),
  files: z.record(z.string().max(64), z.string().max(64)),
});
export type Told = z.infer<typeof Told>;

/** Everything durable of one session object; key: its UID, so that a successor of the same name inherits nothing. */
export const SessionDocument = z.object({
  schemaVersion: z.literal(2),
  /** The session's name, for people who read the store. */
  name: z.string(),
  /** Thread of whatever names none; null until the first turn. */
  mainThread: z.string().max(512).nullable(),
  /** Chat that events and heartbeats speak to. */
  home: Source.nullable(),
  /** In the order of their acceptance. */
  inputs: z.array(LaneInput).max(MAX_OPEN_INPUTS),
  events: z.array(LaneEvent).max(MAX_OPEN_EVENTS),
  turn: OpenTurn.nullable(),
  /** In the order in which their chats get them. */
  deliveries: z.array(Delivery).max(MAX_OPEN_DELIVERIES),
  /** The oldest first. */
  ended: z.array(EndedInput).max(MAX_ENDED),
  endedEvents: z.array(EndedEvent).max(MAX_ENDED),
  endedDeliveries: z.array(EndedDelivery).max(MAX_ENDED),
  heartbeat: z.object({
    /** When the last one started, ms since the epoch; 0 = never. */
    lastAt: z.int(),
    /** Somebody asked for one now. */
    requested: z.boolean(),
    /** Consecutive ones that failed. */
    failures: z.int().min(0),
    /** Whether HEARTBEAT.md, as it was last read, asks for anything; absent = not known, which counts as yes. */
    hasTasks: z.boolean().optional(),
  }),
  told: z.array(Told).max(MAX_TOLD_THREADS),
  /** The session is being deleted: nothing is accepted any more. */
  closing: z.boolean(),
  /** What people are asked, the oldest first. */
  asks: z.array(Ask).max(MAX_ASKS).default([]),
  /** For devices that are away, in the order in which each device gets them. */
  calls: z.array(QueuedCall).max(MAX_QUEUED_CALLS).default([]),
  /** The oldest first. */
  endedCalls: z.array(EndedCall).max(MAX_ENDED_CALLS).default([]),
  /** Key of the last command that began a new conversation: its repeat changes nothing. */
  resetKey: z.string().max(512).optional(),
});
export type SessionDocument = z.infer<typeof SessionDocument>;

/** The document of a session that nobody has written to. */
export function emptyDocument(name: string): SessionDocument {
  return {
    schemaVersion: 2,
    name,
    mainThread: null,
    home: null,
    inputs: [],
    events: [],
    turn: null,
    deliveries: [],
    ended: [],
    endedEvents: [],
    endedDeliveries: [],
    heartbeat: { lastAt: 0, requested: false, failures: 0 },
    told: [],
    closing: false,
    asks: [],
    calls: [],
    endedCalls: [],
  };
}
