import { isDeepStrictEqual } from "node:util";
import type { ArgusSessionStatus } from "#crds/argus-session.ts";
import { type Condition, setCondition } from "#crds/condition.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { GATEWAY_CONDITIONS, type GatewayFinding } from "./conditions.ts";
import type { Demand } from "./demand.ts";

/** The part of a session's status that the gateway owns. */
export type GatewayStatus = Required<Pick<ArgusSessionStatus, "activity" | "conditions">>;

/** The gateway's part of the status. Pure; equal facts give equal bytes, and `since` moves only with the demand. */
export function gatewayStatus(
  { metadata, status }: ArgusSession,
  { demand, findings, now }: { demand: Demand; findings: GatewayFinding[]; now: Date },
): GatewayStatus {
  const { activity } = status ?? {};
  const since = activity?.demand === demand && activity.since ? activity.since : timeOf(now);
  const observedGeneration = metadata.generation ?? 0;
  const before = ownConditions(status);
  const conditions = findings.reduce<Condition[]>(
    (list, finding) =>
      setCondition(list, { ...finding, ...kept(before, finding, observedGeneration) }, now),
    before,
  );
  return { activity: { demand, since }, conditions };
}

/** A spec that changes says nothing about these: their generation moves only with their value, so it costs no write. */
function kept(before: readonly Condition[], next: GatewayFinding, observedGeneration: number) {
  const old = before.find(({ type }) => type === next.type);
  const isSame =
    old?.status === next.status && old.reason === next.reason && old.message === next.message;
  return {
    observedGeneration: (isSame ? old.observedGeneration : undefined) ?? observedGeneration,
  };
}

/** Of a status, what the gateway owns. */
export function ownPart(status: ArgusSessionStatus | undefined): Partial<GatewayStatus> {
  const conditions = ownConditions(status);
  return {
    ...(status?.activity ? { activity: status.activity } : {}),
    ...(conditions.length > 0 ? { conditions } : {}),
  };
}

export function statusDiffers({ status }: ArgusSession, next: GatewayStatus): boolean {
  return !isDeepStrictEqual(ownPart(status), next);
}

function ownConditions(status: ArgusSessionStatus | undefined): Condition[] {
  const order = Object.keys(GATEWAY_CONDITIONS);
  return (status?.conditions ?? [])
    .filter(({ type }) => type in GATEWAY_CONDITIONS)
    .sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
}

function timeOf(now: Date): string {
  return now.toISOString().replace(/\.\d+Z$/, "Z");
}
