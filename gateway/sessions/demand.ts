import type { ArgusSession } from "#crds/kinds.ts";
import type { LaneEvent } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { isOpen } from "../state/next.ts";

type WakeKind = ArgusSession["spec"]["idle"]["wakeOn"][number];
export type Demand = "None" | "Open";

export interface DemandFacts {
  /** Undefined = nobody has written to the session yet. */
  document: SessionDocument | undefined;
  /** A client that speaks to the app-server itself may have something open there. */
  isUsed: boolean;
  session: ArgusSession;
}

/** Whether anything of the session still has to happen. One that is cold is woken only for what `spec.idle.wakeOn` names. Pure. */
export function demandOf({ document, isUsed, session }: DemandFacts): Demand {
  if (isCold(session)) return wakes(document, isUsed, session) ? "Open" : "None";
  return isUsed || (document !== undefined && isOpen(document)) ? "Open" : "None";
}

/** No pod, because nobody needed the session. */
export function isCold({ spec, status }: ArgusSession): boolean {
  const suspended = status?.conditions?.find(({ type }) => type === "Suspended");
  return suspended?.status === "True" && spec.operatingMode !== "Suspended";
}

function wakes(
  document: SessionDocument | undefined,
  isUsed: boolean,
  { spec }: ArgusSession,
): boolean {
  const on = (kind: WakeKind) => spec.idle?.wakeOn?.includes(kind) ?? true;
  if (isUsed && on("Message")) return true;
  if (!document) return false;
  // A turn that may run is brought to its end, whatever may start one.
  if (document.turn !== null) return true;
  const beat = document.heartbeat.requested && on("Cron");
  const events = document.events.some((event) => event.wakes && on(kindOf(event)));
  return beat || events || (document.inputs.length > 0 && on("Message"));
}

/** Nodes report themselves (`node`) and the ends of their jobs (`process`). */
function kindOf({ kind }: LaneEvent): WakeKind {
  if (kind === "cron") return "Cron";
  return kind === "process" || kind.startsWith("node") ? "Node" : "Message";
}

/** Whether demand rules the session's pod: one that is never suspended for idleness needs no word before a turn. */
export function isGated({ spec }: ArgusSession): boolean {
  return (spec.idle?.suspendAfterSeconds ?? 0) > 0;
}

/** The API server knows that the session is needed, and nobody is about to take its pod away. */
export function mayStart(session: ArgusSession): boolean {
  if (!isGated(session)) return true;
  const { activity, conditions } = session.status ?? {};
  const suspended = conditions?.find(({ type }) => type === "Suspended");
  const isGoing = suspended?.status === "False" && suspended.reason === "Suspending";
  return activity?.demand === "Open" && !isGoing;
}
