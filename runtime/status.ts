import type { BridgeState, BridgeStatus, TerminationMessage } from "#protocol/bridge.ts";
import type { Core } from "./core.ts";
import type { InstallStatus } from "./install-loop.ts";
import type { Pressure, PressureSample } from "./pressure.ts";

/** Share of the disk from which on no turn is started. */
const DISK_FULL = 0.95;

/** What the bridge knows besides the app-server. */
export interface Facts {
  boot: string;
  install: InstallStatus;
  sample: PressureSample;
  isolation: Pressure["isolation"];
  peers: number;
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

/** `/status`. */
export function statusOf(core: Core, facts: Facts): BridgeStatus {
  const { boot, install, isolation, peers, skewMs, sample } = facts;
  const { state, reason } = core.state;
  const { pids, memory, disk } = sample;
  return {
    boot,
    seq: core.broadcast.seq,
    state,
    ...(reason === undefined ? {} : { reason }),
    peers,
    busyThreads: core.busy.count(Date.now()),
    openApprovals: core.asks.size,
    restarts: core.supervisor.restarts,
    garbageLines: core.mux.garbage,
    install,
    ...(pids ? { pids } : {}),
    ...(memory ? { memory } : {}),
    ...(disk ? { disk } : {}),
    pidIsolation: isolation,
    ...(skewMs === undefined ? {} : { clockSkewMs: skewMs }),
  };
}

/** `/readyz`: a parked app-server is as good as a running one; a running one must answer. */
export function readiness(core: Core): { ok: boolean; reason: string } {
  const { state } = core.state;
  if (state === "parked") return { ok: true, reason: "parked" };
  if (state !== "hot") return { ok: false, reason: core.state.why() };
  const ok = core.liveness.answers(Date.now());
  return { ok, reason: ok ? "hot" : "the app-server does not answer" };
}

/** What a pod that ends in this state died of. */
export function causeOfDeath(
  last: { state: BridgeState; reason: string | undefined },
  { install, sample }: Pick<Facts, "install" | "sample">,
): TerminationMessage {
  const pidLimitHit = sample.pidLimitHits > 0;
  const why = { message: (last.reason ?? "").slice(0, 2048), pidLimitHit };
  if (install.state === "failed") return { ...why, reason: "InstallFailed" };
  if (last.state !== "failed") {
    return { reason: "Stopped", message: "the bridge was asked to stop", pidLimitHit };
  }
  if (pidLimitHit) return { ...why, reason: "PidLimit" };
  return { ...why, reason: diskFull(sample) ? "DiskFull" : "AppServerFailed" };
}

function diskFull({ disk }: PressureSample): boolean {
  return disk !== undefined && disk.used >= disk.limit * DISK_FULL;
}
