import type { Pod } from "./pod.ts";

/** A run this long clears the back-off. */
export const HEALTHY_RUN_MS = 10 * 60_000;
const FIRST_DELAY_MS = 1000;
const LAST_DELAY_MS = 5 * 60_000;

/** Whether a container that ended with this code runs again. An init container that succeeded never does. */
export function restarts(
  policy: Pod["spec"]["restartPolicy"] = "Always",
  { exitCode, init }: { exitCode: number; init: boolean },
): boolean {
  if (policy === "Never") return false;
  return exitCode !== 0 || (policy === "Always" && !init);
}

/** How often in a row a container ended too soon, after one more run of `ranMs`. */
export function nextCrashes(crashes: number, ranMs: number): number {
  return ranMs >= HEALTHY_RUN_MS ? 1 : crashes + 1;
}

/** Pause before the next start: 1 s · 2^n up to 5 min. */
export function restartDelayMs(crashes: number): number {
  return Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(Math.max(crashes - 1, 0), 30));
}
