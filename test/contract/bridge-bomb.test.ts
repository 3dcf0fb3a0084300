import { spawn, spawnSync } from "node:child_process";
import { randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  FAKE_APP_SERVER,
  makeVolume,
  removeVolume,
  type TestBridge,
  type Volume,
} from "#test/support/bridge.ts";
import { startBridgeProcess } from "#test/support/bridge-process.ts";
import { eventually } from "#test/support/eventually.ts";
import { killAll, processesOf } from "#test/support/processes.ts";

const LIMIT = 100;
const HARD_LIMIT = LIMIT + 16;
const NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
const root = process.platform === "linux" && process.getuid?.() === 0;
const canNamespace = root && spawnSync("unshare", [...NAMESPACE.slice(1), "true"]).status === 0;
const hasPerl = spawnSync("perl", ["-e", "1"]).status === 0;

/** Once the file is there: every process forks ten times a second, half of them into sessions of their own. */
const BOMB = `use POSIX; my $go = shift; select(undef, undef, undef, 0.05) until -e $go; unlink $go;
  while (1) { my $pid = fork; setsid if defined $pid && $pid == 0 && rand() < 0.5; select(undef, undef, undef, 0.1) }`;
const WITH_BOMB = 'perl -e "$BOMB" "$FAKE_HOME/go" & exec "$@"';
const command = ["/bin/sh", "-c", WITH_BOMB, "sh", ...FAKE_APP_SERVER];
const tuning = { saturatedMs: 3000, lookMs: 500, sampleMs: 500 };

/** As a container's entry: a user id that nothing else has, under a limit that the kernel holds. */
async function entry(volume: Volume, uid: number, namespaced: boolean): Promise<string[]> {
  const own = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  const limited = ["setpriv", ...own, "prlimit", `--nproc=${HARD_LIMIT}:${HARD_LIMIT}`];
  // A script's process bears the script's name; this shell waits for its children, as a reaper does.
  const reaper = join(volume.folder, "tini");
  await writeFile(reaper, '#!/bin/sh\nexec 3<&0\n"$@" <&3 &\nwait $!\n');
  await chmod(reaper, 0o755);
  spawnSync("chown", ["-R", `${uid}:${uid}`, volume.folder]);
  return namespaced ? [...NAMESPACE, reaper, ...limited] : limited;
}

/** Longest answer time in ms of the probes, asked until the agent was ended. */
async function probedUntilKilled(bridge: TestBridge): Promise<{ slowest: number; most: number }> {
  let [slowest, most] = [0, 0];
  await eventually("the end of the agent", async () => {
    const asked = performance.now();
    const [ready, status] = await Promise.all([bridge.get("/readyz"), bridge.status()]);
    slowest = Math.max(slowest, performance.now() - asked);
    most = Math.max(most, status.pids?.used ?? 0);
    expect(ready.status === 200 || status.killed !== undefined || status.state !== "hot").toBe(
      true,
    );
    return status.killed !== undefined;
  });
  return { slowest, most };
}

const TITLE =
  "a fork bomb at the process limit: the bridge answers, ends it, and the agent works again";
const possible = root && hasPerl;
test.skipIf(!possible || !canNamespace)(`${TITLE} (one kill for the user id)`, () =>
  bomb("UniqueUid"),
);
test.skipIf(!possible)(`${TITLE} (one by one)`, () => bomb("Degraded"));

async function bomb(isolation: "UniqueUid" | "Degraded"): Promise<void> {
  const uid = randomInt(1_000_000, 2_000_000_000);
  const volume = { ...(await makeVolume()), podUid: randomUUID() };
  const user = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  // Not of the session, although its user id is the same: a limit counts it, a kill must not reach it.
  const neighbour = spawn("setpriv", [...user, "sleep", "300"], {
    env: { PATH: "/usr/bin:/bin" },
  });
  const wrap = await entry(volume, uid, isolation === "UniqueUid");
  const runtime = { command, pids: LIMIT };
  const options = { volume, runtime, tuning, env: { BOMB, PATH: "/usr/bin:/bin" } };
  const { bridge } = await startBridgeProcess(options, wrap);
  const bombs = () =>
    processesOf(volume.podUid).filter(({ command: words }) => words.startsWith("perl "));
  try {
    const peer = await bridge.join();
    await peer.request("test/echo", {});
    expect((await bridge.status()).pidIsolation).toBe(isolation);
    await writeFile(join(bridge.fakeHome, "go"), "");
    const { slowest, most } = await probedUntilKilled(bridge);
    expect(slowest).toBeLessThan(2000);
    expect(most).toBeGreaterThanOrEqual(LIMIT - 3);
    expect(most).toBeLessThanOrEqual(HARD_LIMIT);
    const { params } = await peer.notification("argus/restarted");
    expect(params?.reason).toMatch(/^PidLimit: /);
    expect(await peer.request("test/echo", { again: 1 })).toEqual({ again: 1 });
    // The next life's bomb waits for a file that is not there.
    await eventually("the load is gone", async () => bombs().length <= 1);
    expect(await bridge.status()).toMatchObject({
      state: "hot",
      pidLimitHit: true,
      killed: { reason: "PidLimit" },
    });
    expect(neighbour.exitCode ?? neighbour.signalCode).toBeNull();
    await bridge.stop();
    expect(bridge.termination()).toMatchObject({ reason: "Stopped", pidLimitHit: true });
  } finally {
    await bridge.stop();
    killAll(processesOf(volume.podUid));
    const ended = once(neighbour, "exit");
    neighbour.kill("SIGKILL");
    await ended;
    await removeVolume(volume);
  }
}
