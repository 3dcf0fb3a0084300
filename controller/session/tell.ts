import { isDeepStrictEqual } from "node:util";
import type { EventRecorder } from "#cluster/events.ts";
import { pods } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import { API_VERSION, type ArgusSession } from "#crds/kinds.ts";
import type { Failure } from "./act.ts";
import type { LastTermination } from "./last-termination.ts";
import type { Action } from "./plan.ts";

/** Tells people, as events of the session, what was done or why it could not be. */
export function tell(
  events: EventRecorder,
  session: ArgusSession,
  { actions, failure }: { actions: Action[]; failure: Failure | undefined },
): void {
  const object = asObject(session);
  if (failure) {
    events.record(object, { ...failure.problem, type: "Warning" });
    return;
  }
  for (const action of actions) {
    if (action.do === "create" && action.resource === pods) {
      const message = `created pod ${action.object.metadata.name}`;
      events.record(object, { reason: "PodCreated", message });
    } else if (action.do === "delete") {
      const message = `deleted ${action.ref.resource.kind} ${action.ref.name}: ${action.why}`;
      events.record(object, { reason: `${action.ref.resource.kind}Deleted`, message });
    }
  }
}

const ORDERLY = ["Stopped", "Completed"];

/** A death is told once, when its cause enters the status. */
export function tellEnd(
  events: EventRecorder,
  session: ArgusSession,
  end: LastTermination | undefined,
): void {
  if (!end || isDeepStrictEqual(end, session.status?.lastTermination)) return;
  const code = end.exitCode === undefined ? "" : ` (exit code ${end.exitCode})`;
  const message = `the agent ended${code}${end.message ? `: ${end.message}` : ""}`;
  const type = ORDERLY.includes(end.reason) ? "Normal" : "Warning";
  events.record(asObject(session), { type, reason: end.reason, message });
}

/** Informers hand out objects of a list, which do not name their kind. */
function asObject(session: ArgusSession): KubeObject {
  return { ...session, apiVersion: API_VERSION, kind: "ArgusSession" };
}
