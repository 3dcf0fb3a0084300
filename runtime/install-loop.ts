import { setTimeout as delay } from "node:timers/promises";
import { backoffMs } from "#lib/clock.ts";
import type { BridgeState, BridgeStatus } from "#protocol/bridge.ts";
import { installVersion, runInstall } from "./install.ts";
import type { BridgeOptions } from "./options.ts";

/** What an install needs is often a network that comes back. */
const BACKOFF = { baseMs: 30_000, maxMs: 600_000 };

export type InstallStatus = BridgeStatus["install"];

/** Installs the runtime's version, again and again until it succeeds. Resolves early only when aborted. */
export async function installUntilDone(
  options: BridgeOptions,
  set: (install: InstallStatus, state: BridgeState, reason?: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { runtime, home, workspace, agentEnv, logger } = options;
  if (!runtime.install) return;
  const version = installVersion(runtime.install, runtime.image);
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    set({ state: "running", version }, "installing", "spec.runtime.install runs");
    const env = agentEnv;
    const script = runtime.install;
    const run = { script, version, home, workspace, env, signal, logger };
    const result = await runInstall(run);
    if (result.ok) return set({ state: "done", version }, "starting");
    if (signal.aborted) return;
    const tail = result.tail.slice(-4096);
    logger.error({ version, tail }, "install failed");
    set({ state: "failed", version, tail }, "failed", `spec.runtime.install failed: ${tail}`);
    await delay(backoffMs(attempt, BACKOFF), undefined, { signal }).catch(() => undefined);
  }
}
