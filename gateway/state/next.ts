import { type LaneEvent, MAX_EVENTS_PER_TURN, type OpenTurn } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { TurnPlan } from "./turns.ts";

/** What the session's lane should do now. Pure: after any crash it follows from the document alone. */
export type Work =
  /** A turn may have left: the bridge is asked what became of it. */
  | { do: "settle"; turn: OpenTurn }
  | { do: "start"; plan: Omit<TurnPlan, "id"> }
  /** Nothing until this time; null = until something changes. */
  | { do: "rest"; until: number | null };

/** `beatAt`: when the next heartbeat is due; null = none. */
export function nextWork(document: SessionDocument, now: number, beatAt: number | null): Work {
  const { turn, inputs, closing } = document;
  if (turn) return { do: "settle", turn };
  if (closing) return { do: "rest", until: null };
  const [head] = inputs;
  if (head) {
    const about = { kind: "message", inputId: head.id, threadId: head.threadId } as const;
    return { do: "start", plan: planOf(document, about, now) };
  }
  const first = document.events.find((event) => event.wakes && event.notBefore <= now);
  if (first) {
    const about = { kind: "events", inputId: null, threadId: first.threadId } as const;
    return { do: "start", plan: planOf(document, about, now) };
  }
  if (beatAt !== null && beatAt <= now) {
    const about = { kind: "heartbeat", inputId: null, threadId: null } as const;
    return { do: "start", plan: planOf(document, about, now) };
  }
  return { do: "rest", until: earliest([...wakeTimes(document.events), beatAt]) };
}

/** The turn with the events of its thread that are due. */
function planOf(
  { mainThread, events }: SessionDocument,
  about: Omit<TurnPlan, "id" | "eventIds">,
  now: number,
): Omit<TurnPlan, "id"> {
  const thread = about.threadId ?? mainThread;
  const due = events.filter(
    (event) => (event.threadId ?? mainThread) === thread && event.notBefore <= now,
  );
  const eventIds = due.slice(0, MAX_EVENTS_PER_TURN).map(({ id }) => id);
  return { ...about, eventIds };
}

function wakeTimes(events: readonly LaneEvent[]): number[] {
  return events.filter(({ wakes }) => wakes).map(({ notBefore }) => notBefore);
}

function earliest(times: (number | null)[]): number | null {
  return times.reduce(
    (least, time) => (time !== null && (least === null || time < least) ? time : least),
    null,
  );
}

/** Whether anything of the session still has to happen: its demand. */
export function isOpen({ turn, inputs, events, deliveries, heartbeat }: SessionDocument): boolean {
  const waits = events.some(({ wakes }) => wakes);
  return (
    turn !== null || inputs.length > 0 || waits || deliveries.length > 0 || heartbeat.requested
  );
}
