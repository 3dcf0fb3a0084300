import { errorMessage } from "#lib/errors.ts";
import type { ContainerPlan } from "./container-plan.ts";
import { ContainerRun } from "./container-run.ts";
import type { KubeletContext } from "./context.ts";
import type { Owner } from "./identity.ts";
import { type Container, kubeTime, type Terminated } from "./pod.ts";
import { hasForeignProbe, runProbes } from "./probe.ts";
import type { ProbeKind } from "./probe-state.ts";
import { nextCrashes, restartDelayMs, restarts } from "./restart.ts";
import type { ContainerRecord } from "./status.ts";

export interface PodEvent {
  type: "Normal" | "Warning";
  reason: string;
  message: string;
}

/** What a container needs from its pod. */
export interface ContainerHome {
  context: KubeletContext;
  podUid: string;
  podIp: string;
  restartPolicy: "Always" | "OnFailure" | "Never";
  /** SIGTERM to SIGKILL. */
  graceMs(): number;
  /** Aborted = end the container and start it no more. */
  signal: AbortSignal;
  /** Aborted = skip the rest of the grace. */
  hurry: AbortSignal;
  plan(container: Container): Promise<{ plan: ContainerPlan; owner: Owner | undefined }>;
  folderOf(container: Container): string;
  alone(container: Container): boolean;
  /** The record changed; it is reported. */
  changed(): void;
  event(event: PodEvent): void;
  /** Waits; `early` also ends with the next change of a Secret or ConfigMap. */
  pause(ms: number, early: boolean): Promise<void>;
}

const CONFIG_RETRY_MS = 5000;

/**
 * Runs one container until it needs no further run, or the pod's signal aborts. Resolves when its last process has
 * ended; `record` then holds how.
 */
export async function workContainer(
  home: ContainerHome,
  container: Container,
  { record, init }: { record: ContainerRecord; init: boolean },
): Promise<void> {
  let crashes = 0;
  let runs = record.restartCount;
  while (!home.signal.aborted) {
    const started = await startRun(home, container, { record, run: runs });
    if (started === "retry") continue;
    const startedMs = Date.now();
    if (started instanceof ContainerRun) await watchRun(home, container, { record, run: started });
    else noteEnd(home, record, started);
    const ended = record.state.terminated;
    if (!ended || home.signal.aborted) return;
    if (!restarts(home.restartPolicy, { exitCode: ended.exitCode, init })) return;
    crashes = nextCrashes(crashes, Date.now() - startedMs);
    await backOff(home, container, { record, crashes });
    if (home.signal.aborted) return;
    runs += 1;
    record.restartCount = runs;
  }
}

interface StartInput {
  record: ContainerRecord;
  run: number;
}

/** A run, or how the start failed for good, or `retry` after a pause. */
async function startRun(
  home: ContainerHome,
  container: Container,
  { record, run }: StartInput,
): Promise<ContainerRun | Terminated | "retry"> {
  const { context, podUid } = home;
  const prepared = await home.plan(container).catch((error: unknown) => errorMessage(error));
  if (typeof prepared === "string") {
    record.state = { waiting: { reason: "CreateContainerConfigError", message: prepared } };
    home.changed();
    home.event({
      type: "Warning",
      reason: "Failed",
      message: `Error: ${prepared}`,
    });
    await home.pause(CONFIG_RETRY_MS, true);
    return "retry";
  }
  try {
    const folder = home.folderOf(container);
    const alone = home.alone(container);
    return await ContainerRun.start({
      context,
      podUid,
      container,
      run,
      folder,
      alone,
      ...prepared,
    });
  } catch (error) {
    const message = errorMessage(error);
    home.event({ type: "Warning", reason: "Failed", message });
    const at = kubeTime(Date.now());
    return { exitCode: 128, reason: "StartError", message, startedAt: at, finishedAt: at };
  }
}

/** From start to end of one run: reports it, probes it, ends it when the pod ends or a probe says so. */
async function watchRun(
  home: ContainerHome,
  container: Container,
  { record, run }: { record: ContainerRecord; run: ContainerRun },
): Promise<void> {
  const over = new AbortController();
  noteStart(home, container, { record, startedMs: run.startedMs });
  if (hasForeignProbe(container)) {
    const message = "only httpGet and tcpSocket probes are run here; the others count as passed";
    home.event({ type: "Warning", reason: "ProbeUnsupported", message });
  }
  let ending: Promise<void> | undefined;
  const end = (graceMs: number) => {
    ending ??= run.end(graceMs, home.hurry);
    ending.catch(() => undefined); // reported below
  };
  const onPodEnd = () => {
    const message = `Stopping container ${container.name}`;
    home.event({ type: "Normal", reason: "Killing", message });
    end(home.graceMs());
  };
  home.signal.addEventListener("abort", onPodEnd, { once: true });
  if (home.signal.aborted) onPodEnd();
  const probing = runProbes(
    { container, podIp: home.podIp },
    reports(home, container, { record, end }),
    over.signal,
  );
  await run.exited;
  over.abort();
  home.signal.removeEventListener("abort", onPodEnd);
  await probing;
  await ending;
  noteEnd(home, record, await run.finished());
}

function reports(
  home: ContainerHome,
  container: Container,
  { record, end }: { record: ContainerRecord; end: (graceMs: number) => void },
) {
  const title = (kind: ProbeKind) => kind.charAt(0).toUpperCase() + kind.slice(1);
  const event = (type: PodEvent["type"], reason: string, message: string) =>
    home.event({ type, reason, message });
  return {
    turned(kind: ProbeKind, ok: boolean): void {
      if (kind === "startup") record.started = ok;
      if (kind === "readiness") record.ready = ok;
      home.changed();
    },
    failed(kind: ProbeKind, message: string): void {
      event("Warning", "Unhealthy", `${title(kind)} probe failed: ${message}`);
    },
    kill(kind: ProbeKind): void {
      const why = `failed ${kind} probe, will be restarted`;
      event("Normal", "Killing", `Container ${container.name} ${why}`);
      end(home.graceMs());
    },
  };
}

function noteStart(
  home: ContainerHome,
  container: Container,
  { record, startedMs }: { record: ContainerRecord; startedMs: number },
): void {
  record.state = { running: { startedAt: kubeTime(startedMs) } };
  record.containerID = `process://${home.podUid}/${container.name}/${record.restartCount}`;
  record.started = false;
  record.ready = false;
  home.changed();
  const message = `Started container ${container.name}`;
  home.event({ type: "Normal", reason: "Started", message });
}

function noteEnd(home: ContainerHome, record: ContainerRecord, ended: Terminated): void {
  const { containerID } = record;
  record.state = { terminated: { ...ended, ...(containerID && { containerID }) } };
  record.ready = false;
  record.started = false;
  home.changed();
}

async function backOff(
  home: ContainerHome,
  container: Container,
  { record, crashes }: { record: ContainerRecord; crashes: number },
): Promise<void> {
  const delayMs = restartDelayMs(crashes);
  const message = `back-off ${delayMs / 1000}s restarting failed container=${container.name}`;
  record.lastState = record.state;
  record.state = { waiting: { reason: "CrashLoopBackOff", message } };
  home.changed();
  home.event({
    type: "Warning",
    reason: "BackOff",
    message: `Back-off restarting failed container ${container.name}`,
  });
  await home.pause(delayMs, false);
}
