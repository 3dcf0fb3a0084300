import { isDeepStrictEqual } from "node:util";
import type { Pod } from "#cluster/core-types.ts";
import { present } from "#cluster/objects.ts";
import { type ArgusSessionStatus, SESSION_CONDITIONS } from "#crds/argus-session.ts";
import { type Condition, setCondition } from "#crds/condition.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { type Finding, FROM_BRIDGE, findings } from "./conditions.ts";
import { lastTermination } from "./last-termination.ts";
import { isOurs, type Observed } from "./observe.ts";
import type { Problem } from "./plan.ts";

/** The part of the status that the controller owns. Pure; equal observations give equal bytes. */
export function computeStatus(
  observed: Observed,
  problem: Problem | undefined,
  now: Date,
): ArgusSessionStatus {
  const { session } = observed;
  const pod = observed.pod && isOurs(observed.pod, session) ? observed.pod : undefined;
  return present({
    observedGeneration: session.metadata.generation ?? 0,
    conditions: conditions(observed, findings(observed, problem, now), now),
    podName: pod?.metadata.name,
    podIPs: pod && addressesOf(pod),
    nodeName: pod?.spec.nodeName,
    runAsUser: observed.uid,
    lastTermination: lastTermination(pod, observed.bridge, session.status?.lastTermination),
  });
}

/** Undefined while there are none: an empty list would differ from an absent one. */
function addressesOf({ status }: Pod): string[] | undefined {
  const all = status?.podIPs?.map(({ ip }) => ip) ?? (status?.podIP ? [status.podIP] : []);
  return all.length > 0 ? all.slice(0, 4) : undefined;
}

function conditions(observed: Observed, found: Finding[], now: Date): Condition[] {
  const { session, pod } = observed;
  const observedGeneration = session.metadata.generation ?? 0;
  const old = ownConditions(session.status);
  const told = found.map(({ type }) => type);
  const kept = pod ? old.filter(({ type }) => isKept(type, told)) : [];
  let next = old.filter(({ type }) => told.some((each) => each === type));
  for (const { type, status, reason, message } of [...found, ...kept]) {
    next = setCondition(
      next.some((each) => each.type === type) ? next : withOld(next, old, type),
      { type, status, observedGeneration, reason, message },
      now,
    );
  }
  return next.sort((a, b) => orderOf(a.type) - orderOf(b.type));
}

function withOld(list: Condition[], old: Condition[], type: string): Condition[] {
  const entry = old.find((each) => each.type === type);
  return entry ? [...list, entry] : list;
}

/** A bridge that says nothing for a moment changes nothing. */
function isKept(type: string, told: string[]): boolean {
  return FROM_BRIDGE.some((each) => each === type) && !told.includes(type);
}

const ORDER = Object.keys(SESSION_CONDITIONS);

function orderOf(type: string): number {
  return ORDER.indexOf(type);
}

/** Of a status, what the controller owns; the gateway's fields and conditions are left alone. */
export function ownStatus(status: ArgusSessionStatus | undefined): ArgusSessionStatus {
  const { activity: _, ...own } = status ?? {};
  return { ...own, conditions: ownConditions(status) };
}

function ownConditions(status: ArgusSessionStatus | undefined): Condition[] {
  return (status?.conditions ?? [])
    .filter(({ type }) => type in SESSION_CONDITIONS)
    .sort((a, b) => orderOf(a.type) - orderOf(b.type));
}

export function statusDiffers({ status }: ArgusSession, next: ArgusSessionStatus): boolean {
  return !isDeepStrictEqual(ownStatus(status), next);
}

const PROGRESS = ["DependenciesNotReady", "BridgeNotReady"];

/**
 * Whether a changed status must be written at once. Steps of a start or an end (scheduled, address known, container running)
 * may wait a moment, so that they cost few writes.
 */
export function isUrgent({ status, metadata }: ArgusSession, next: ArgusSessionStatus): boolean {
  if (status?.observedGeneration !== metadata.generation) return true;
  const suspended = conditionOf(next, "Suspended");
  const before = conditionOf(status, "Suspended");
  if (suspended?.reason !== before?.reason && suspended?.reason !== "PodTerminating") return true;
  if (!isDeepStrictEqual(status?.lastTermination, next.lastTermination)) return true;
  return readiness(status) !== readiness(next);
}

/** What people wait for; steps on the way are all the same. */
function readiness(status: ArgusSessionStatus | undefined): string {
  const ready = conditionOf(status, "Ready");
  if (!ready || ready.status !== "False") return ready?.status ?? "";
  return PROGRESS.includes(ready.reason) ? "False" : `False ${ready.reason} ${ready.message}`;
}

function conditionOf(status: ArgusSessionStatus | undefined, type: string): Condition | undefined {
  return status?.conditions?.find((each) => each.type === type);
}
