import { monotonicMs } from "#lib/clock.ts";
import type { BridgeState, BridgeStatus, TerminationMessage } from "#protocol/bridge.ts";
import type { Core } from "./core.ts";
import type { InstallStatus } from "./install-loop.ts";
import type { Pressure, PressureSample } from "./pressure.ts";

/** Share of the disk from which on no turn is started. */
const DISK_FULL = 0.95;

export type AgentKill = NonNullable<BridgeStatus["killed"]>;

/** What the bridge knows besides the app-server. */
export interface Facts {
  boot: string;
  install: InstallStatus;
  sample: PressureSample;
  isolation: Pressure["isolation"];
  peers: number;
  /** The last time that the agent was ended for its processes. */
  killed: AgentKill | undefined;
  warning: string | undefined;
  /** Why the bridge itself could not do its work. */
  failure: string | undefined;
  /** Our clock minus the gateway's, when a hello was refused for time. */
  skewMs: number | undefined;
}

export interface NoNewTurns {
  reason: "draining" | "diskFull";
  message: string;
}

/** Why no turn may start now; undefined = it may. */
export function refuseTurns(draining: boolean, sample: PressureSample): NoNewTurns | undefined {
  if (draining) {
    const message =
      "The pod is being stopped; nothing was started. Try again when its successor is ready.";
    return { reason: "draining", message };
  }
  if (!diskFull(sample)) return undefined;
  const message =
    "The session's disk is 95 % full; nothing was started. Free space or enlarge the volume.";
  return { reason: "diskFull", message };
}

/** Says that the agent is ended because its processes held their limit. `now`: ms since the epoch. */
export function pidLimitKill({ pids }: PressureSample, now: number): AgentKill {
  const count = pids ? ` (${pids.used} of ${pids.limit})` : "";
  const message = `PidLimit: the session's processes held their limit${count} too long and were ended`;
  return { reason: "PidLimit", message, at: now };
}

/** Says that the kernel ended a process of the session. `now`: ms since the epoch. */
export function outOfMemory({ memory }: PressureSample, now: number): AgentKill {
  const limit = memory ? ` of ${Math.round(memory.limit / 2 ** 20)} MiB` : "";
  const message = `OOMKilled: the session reached its memory limit${limit} and the kernel ended a process of it; raise spec.resources.limits.memory or ask for less`;
  return { reason: "OOMKilled", message, at: now };
}

/** `/status`. */
export function statusOf(core: Core, facts: Facts): BridgeStatus {
  const { boot, install, isolation, peers, skewMs, sample, killed, warning } = facts;
  const { state, reason } = core.state;
  const { pids, memory, disk } = sample;
  return {
    boot,
    seq: core.broadcast.seq,
    state,
    ...(reason === undefined ? {} : { reason }),
    peers,
    busyThreads: core.busy.count(monotonicMs()),
    openApprovals: core.asks.size,
    restarts: core.supervisor.restarts,
    garbageLines: core.mux.garbage,
    install,
    ...(pids ? { pids } : {}),
    ...(memory ? { memory } : {}),
    ...(disk ? { disk } : {}),
    pidIsolation: isolation,
    ...(hitPidLimit(facts) ? { pidLimitHit: true } : {}),
    ...(killed ? { killed } : {}),
    ...(warning === undefined ? {} : { warning }),
    ...(skewMs === undefined ? {} : { clockSkewMs: skewMs }),
  };
}

/** `/readyz`: a parked app-server is as good as a running one; a running one must answer. */
export function readiness(core: Core): { ok: boolean; reason: string } {
  const { state } = core.state;
  if (state === "parked") return { ok: true, reason: "parked" };
  if (state !== "hot") return { ok: false, reason: core.state.why() };
  const ok = core.liveness.answers(monotonicMs());
  return { ok, reason: ok ? "hot" : "the app-server does not answer" };
}

/** What a pod that ends in this state died of. */
export function causeOfDeath(
  last: { state: BridgeState; reason: string | undefined },
  facts: Pick<Facts, "install" | "sample" | "killed" | "failure">,
): TerminationMessage {
  const { install, sample, killed, failure } = facts;
  const pidLimitHit = hitPidLimit(facts);
  const why = { message: (last.reason ?? "").slice(0, 2048), pidLimitHit };
  if (install.state === "failed") return { ...why, reason: "InstallFailed" };
  const killedLast = killed !== undefined && last.reason === killed.message;
  if (killedLast) return { ...why, reason: killed.reason };
  if (last.state !== "failed") {
    return { reason: "Stopped", message: "the bridge was asked to stop", pidLimitHit };
  }
  if (sample.pidLimitHits > 0) return { ...why, reason: "PidLimit" };
  if (diskFull(sample)) return { ...why, reason: "DiskFull" };
  return { ...why, reason: failure === undefined ? "AppServerFailed" : "BridgeFailed" };
}

function hitPidLimit({ sample, killed }: Pick<Facts, "sample" | "killed">): boolean {
  return sample.pidLimitHits > 0 || killed?.reason === "PidLimit";
}

function diskFull({ disk }: PressureSample): boolean {
  return disk !== undefined && disk.used >= disk.limit * DISK_FULL;
}
