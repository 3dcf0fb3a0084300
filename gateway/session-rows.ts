import type { ArgusSession } from "#crds/kinds.ts";
import { API_VERSION } from "#crds/kinds.ts";
import type { SessionRow } from "#protocol/client.ts";
import type { SessionTitle } from "#protocol/document.ts";
import { condition } from "./session-status.ts";
import { titleOf } from "./state/titles.ts";

/** Rows of `GET /sessions`: ready ones first, then by name. Pure. */
export function sessionRows(
  sessions: readonly ArgusSession[],
  titles: readonly SessionTitle[],
): SessionRow[] {
  return sessions
    .map((session) => sessionRow(session, titles))
    .sort((a, b) => Number(b.ready) - Number(a.ready) || a.name.localeCompare(b.name, "en"));
}

function sessionRow(session: ArgusSession, titles: readonly SessionTitle[]): SessionRow {
  const { name, uid, creationTimestamp } = session.metadata;
  const title = titleOf(titles, uid);
  const ready = condition(session, "Ready");
  return {
    sessionId: name,
    containerId: session.status?.podName ?? "",
    name,
    status: statusWord(session, ready?.status === "True"),
    runtimeLayout: API_VERSION,
    ready: ready?.status === "True",
    reason: ready?.reason ?? "Pending",
    message: ready?.message ?? "The controller has not taken up the session yet.",
    ...(title === undefined ? {} : { title }),
    ...(creationTimestamp ? { createdAt: creationTimestamp } : {}),
  };
}

function statusWord(session: ArgusSession, ready: boolean): string {
  if (session.metadata.deletionTimestamp) return "deleting";
  if (session.spec.operatingMode === "Suspended") return "suspended";
  return ready ? "running" : "starting";
}
