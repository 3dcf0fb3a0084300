import type { Probe } from "./pod.ts";

/** What one probe knows: `ok` is its verdict, the counts are of results in a row. */
export interface ProbeState {
  ok: boolean;
  successes: number;
  failures: number;
}

export type ProbeKind = "startup" | "readiness" | "liveness";

/** Readiness and start-up must be proved, health is presumed. */
export function firstProbeState(kind: ProbeKind): ProbeState {
  return { ok: kind === "liveness", successes: 0, failures: 0 };
}

/** The verdict after one more result: it turns only after a threshold of equal results in a row. */
export function nextProbeState(
  state: ProbeState,
  { successThreshold = 1, failureThreshold = 3 }: Probe,
  success: boolean,
): ProbeState {
  const successes = success ? state.successes + 1 : 0;
  const failures = success ? 0 : state.failures + 1;
  const turned = success ? successes >= successThreshold : failures >= failureThreshold;
  return { ok: turned ? success : state.ok, successes, failures };
}

/** Whether the container must be ended: its liveness or start-up probe failed for good. */
export function killsContainer(
  kind: ProbeKind,
  { ok, failures }: ProbeState,
  { failureThreshold = 3 }: Probe,
): boolean {
  return kind !== "readiness" && !ok && failures >= failureThreshold;
}
