import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { errorMessage } from "#lib/errors.ts";
import type { Container, Probe } from "./pod.ts";
import { firstProbeState, killsContainer, nextProbeState, type ProbeKind } from "./probe-state.ts";
import { Wake } from "./wake.ts";

export interface ProbeTarget {
  container: Container;
  podIp: string;
}

export interface ProbeReports {
  /** The verdict changed. */
  turned(kind: ProbeKind, ok: boolean): void;
  failed(kind: ProbeKind, message: string): void;
  /** The container is beyond its threshold and must end. */
  kill(kind: ProbeKind): void;
}

/** Runs the three probes of a running container until the signal aborts; the other two wait for start-up. */
export async function runProbes(
  target: ProbeTarget,
  reports: ProbeReports,
  signal: AbortSignal,
): Promise<void> {
  const { startupProbe, readinessProbe, livenessProbe } = target.container;
  const run = (kind: ProbeKind, probe: Probe | undefined) =>
    probe && isOurs(probe) ? runProbe({ kind, probe, target, reports }, signal) : succeed(kind);
  const succeed = (kind: ProbeKind) => reports.turned(kind, true);
  await run("startup", startupProbe);
  if (signal.aborted) return;
  await Promise.all([run("readiness", readinessProbe), run("liveness", livenessProbe)]);
}

const isOurs = ({ httpGet, tcpSocket }: Probe) => Boolean(httpGet ?? tcpSocket);

/** Whether it has a probe of a kind that is not run here (exec, gRPC). */
export function hasForeignProbe({ startupProbe, readinessProbe, livenessProbe }: Container) {
  return [startupProbe, readinessProbe, livenessProbe].some((probe) => probe && !isOurs(probe));
}

interface ProbeInput {
  kind: ProbeKind;
  probe: Probe;
  target: ProbeTarget;
  reports: ProbeReports;
}

/** Ends with the signal, with a kill, or, for start-up, with success. */
async function runProbe(
  { kind, probe, target, reports }: ProbeInput,
  signal: AbortSignal,
): Promise<void> {
  const timer = new Wake();
  let state = firstProbeState(kind);
  await timer.wait((probe.initialDelaySeconds ?? 0) * 1000, signal);
  while (!signal.aborted) {
    const failure = await probeOnce(probe, target, signal);
    if (signal.aborted) return;
    if (failure !== undefined) reports.failed(kind, failure);
    const before = state.ok;
    state = nextProbeState(state, probe, failure === undefined);
    if (state.ok !== before) reports.turned(kind, state.ok);
    if (killsContainer(kind, state, probe)) return reports.kill(kind);
    if (kind === "startup" && state.ok) return;
    await timer.wait((probe.periodSeconds ?? 10) * 1000, signal);
  }
}

/** One try; undefined = success, else why not. */
export async function probeOnce(
  probe: Probe,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<string | undefined> {
  const deadline = AbortSignal.timeout((probe.timeoutSeconds ?? 1) * 1000);
  const limit = AbortSignal.any([signal, deadline]);
  try {
    if (probe.httpGet) return await getOnce(probe.httpGet, target, limit);
    if (probe.tcpSocket) return await connectOnce(probe.tcpSocket, target, limit);
    return "the probe names neither httpGet nor tcpSocket";
  } catch (error) {
    return deadline.aborted ? "the probe timed out" : errorMessage(error);
  }
}

async function getOnce(
  get: NonNullable<Probe["httpGet"]>,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<string | undefined> {
  const secure = get.scheme === "HTTPS";
  const request = (secure ? httpsRequest : httpRequest)({
    host: get.host ?? target.podIp,
    port: portNumber(target.container, get.port),
    path: get.path ?? "/",
    headers: Object.fromEntries((get.httpHeaders ?? []).map(({ name, value }) => [name, value])),
    agent: false,
    signal,
    ...(secure && { rejectUnauthorized: false }), // as a kubelet does: a probe has no name to check
  });
  request.on("error", () => undefined); // also after the answer; before it, `once` rejects
  request.end();
  const [response] = (await once(request, "response")) as [{ statusCode?: number }];
  request.destroy();
  const status = response.statusCode ?? 0;
  return status >= 200 && status < 400 ? undefined : `HTTP probe failed with statuscode: ${status}`;
}

async function connectOnce(
  tcp: NonNullable<Probe["tcpSocket"]>,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<undefined> {
  const port = portNumber(target.container, tcp.port);
  const socket = connect({ host: tcp.host ?? target.podIp, port });
  try {
    await once(socket, "connect", { signal });
  } finally {
    socket.destroy();
  }
}

/** A port by number or by name of a containerPort. Throws for an unknown name. */
export function portNumber({ ports = [] }: Container, port: number | string): number {
  const number = ports.find(({ name }) => name === port)?.containerPort ?? Number(port);
  if (!Number.isInteger(number)) throw new Error(`no containerPort is named ${port}`);
  return number;
}
