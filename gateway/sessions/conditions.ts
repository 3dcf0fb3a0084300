import type { Condition } from "#crds/condition.ts";
import type { SessionDocument } from "#protocol/session-document.ts";

// What the gateway says of a session's state, lane and deliveries. Pure.

/** An open entry or delivery without any progress for this long is said aloud. */
export const STUCK_MS = 10 * 60_000;

/** Conditions that the gateway owns, and what True means. */
export const GATEWAY_CONDITIONS = {
  StateReadable: "the session's document can be read",
  LaneProgressing: "what is open in the session moves on",
  DeliveriesHealthy: "answers reach their chats",
} as const;
export type GatewayConditionType = keyof typeof GATEWAY_CONDITIONS;

export type GatewayFinding = Pick<Condition, "status" | "reason" | "message"> & {
  type: GatewayConditionType;
};

export interface LaneFacts {
  document: SessionDocument | undefined;
  /** Why the document cannot be read, and what to do. */
  unreadable: string | undefined;
  /** A turn is being followed; its own deadline for silence rules it. */
  isRunning: boolean;
  /** What the first of those that wait waits for, in words. */
  waitsFor: string;
  /** Milliseconds since the move of one of them that has this stamp; negative while it lies ahead. */
  quietMs: (of: "lane" | "deliveries", stamp: number) => number;
}

export function gatewayFindings(facts: LaneFacts): GatewayFinding[] {
  const { unreadable } = facts;
  if (unreadable !== undefined) {
    const unknown = { status: "Unknown", reason: "StateUnreadable", message: "" } as const;
    return [
      found("StateReadable", false, "Unreadable", unreadable),
      { type: "LaneProgressing", ...unknown },
      { type: "DeliveriesHealthy", ...unknown },
    ];
  }
  return [found("StateReadable", true, "Readable"), lane(facts), deliveries(facts)];
}

function found(
  type: GatewayConditionType,
  isGood: boolean,
  reason: string,
  message = "",
): GatewayFinding {
  return { type, status: isGood ? "True" : "False", reason, message: message.slice(0, 4096) };
}

function lane(facts: LaneFacts): GatewayFinding {
  const quiet = laneQuietMs(facts);
  if (quiet === undefined) return found("LaneProgressing", true, "Idle");
  if (quiet < STUCK_MS) return found("LaneProgressing", true, "Progressing");
  const words = facts.waitsFor || "it cannot be said why: the gateway's log may tell";
  const message = `the oldest entry has had no progress for ${STUCK_MS / 60_000} minutes: ${words}`;
  return found("LaneProgressing", false, "NoProgress", message);
}

/** Undefined = nothing is open. */
function laneQuietMs(facts: LaneFacts): number | undefined {
  if (facts.document?.turn && facts.isRunning) return 0;
  const stamp = facts.document && progressAt(facts.document);
  return stamp === undefined ? undefined : facts.quietMs("lane", stamp);
}

/** When the oldest open entry last moved; undefined = nothing is open. */
function progressAt(document: SessionDocument): number | undefined {
  const { inputs, events, turn, ended, endedEvents } = document;
  const due = events.filter(({ wakes }) => wakes);
  const starts = [
    ...inputs.slice(0, 1).map(({ enqueuedAt }) => enqueuedAt),
    ...due.map(({ createdAt, notBefore }) => Math.max(createdAt, notBefore)),
  ];
  if (!turn && starts.length === 0) return undefined;
  const oldest = turn ? turn.startedAt : Math.min(...starts);
  // The end of another turn is progress of the lane.
  return Math.max(oldest, ended.at(-1)?.endedAt ?? 0, endedEvents.at(-1)?.endedAt ?? 0);
}

function deliveries(facts: LaneFacts): GatewayFinding {
  const oldest = facts.document?.deliveries[0];
  const quiet = deliveriesQuietMs(facts);
  if (!oldest || quiet === undefined) return found("DeliveriesHealthy", true, "Idle");
  if (quiet < STUCK_MS) return found("DeliveriesHealthy", true, "Delivering");
  const { target, reason } = oldest;
  const words = reason || "no adapter of its channel is connected";
  const message = `an answer for ${target.channel} has waited for ${STUCK_MS / 60_000} minutes: ${words}`;
  return found("DeliveriesHealthy", false, "NotDelivered", message);
}

/** Undefined = none waits. */
function deliveriesQuietMs({ document, quietMs }: LaneFacts): number | undefined {
  const oldest = document?.deliveries[0];
  return oldest && quietMs("deliveries", Math.max(oldest.createdAt, oldest.notBefore));
}

/** In how many milliseconds time alone changes a finding; undefined = never. */
export function findingsChangeInMs(facts: LaneFacts): number | undefined {
  const left = [laneQuietMs(facts), deliveriesQuietMs(facts)]
    .filter((quiet) => quiet !== undefined)
    .map((quiet) => STUCK_MS - quiet)
    .filter((ms) => ms > 0);
  return left.length > 0 ? Math.min(...left) : undefined;
}
