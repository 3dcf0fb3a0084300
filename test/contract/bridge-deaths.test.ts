import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startTimeOf } from "#lib/process-table.ts";
import type { Pressure, PressureSample } from "#runtime/pressure.ts";
import {
  FAKE_APP_SERVER,
  makeVolume,
  removeVolume,
  startTestBridge,
  type TestBridgeOptions,
} from "#test/support/bridge.ts";
import { startBridgeProcess } from "#test/support/bridge-process.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";
import { eventually } from "#test/support/eventually.ts";

const start = bridgeSuite();
const fullDisk = { disk: { used: 96, limit: 100 }, pidLimitHits: 0 };

function pressureOf(sample: PressureSample): Pressure {
  return {
    isolation: "Degraded",
    container: false,
    sample: async () => sample,
    tasks: async () => undefined,
  };
}
/** A zombie whose parent does not look is not alive. */
const alive = async (pid: number) => (await startTimeOf(pid)) !== undefined;

test("a disk that is 95 % full refuses new turns and says what to do; what runs and reads goes on", async () => {
  const disk = { used: 10, limit: 100 };
  const bridge = await start({ pressure: pressureOf({ disk, pidLimitHits: 0 }) });
  const peer = await bridge.join();
  const { thread } = await peer.request("thread/start", {});
  const { id: threadId } = thread as { id: string };
  const input = [{ type: "text", text: "hold" }];
  await peer.request("turn/start", { threadId, input });
  disk.used = 95;
  const { error } = await peer.ask("turn/start", { threadId, input });
  expect(error).toMatchObject({ code: -32001, data: { reason: "diskFull" } });
  expect(error?.message).toContain("Free space");
  await peer.request("test/finish", { threadId });
  await peer.notification("turn/completed");
  expect((await bridge.status()).disk).toEqual({ used: 95, limit: 100 });
});

test.each<[string, TestBridgeOptions]>([
  ["InstallFailed", { runtime: { install: "echo no network; exit 3" } }],
  ["AppServerFailed", { runtime: { command: ["/bin/sh", "-c", "exit 7"] } }],
  [
    "DiskFull",
    { runtime: { command: ["/bin/sh", "-c", "exit 7"] }, pressure: pressureOf(fullDisk) },
  ],
])("a pod that ends without an app-server left the cause %s", async (reason, options) => {
  const bridge = await start(options);
  const state = async () => (await bridge.status()).state;
  await eventually("failed", async () => (await state()) === "failed");
  await bridge.drain();
  const message = reason === "InstallFailed" ? "no network" : "exited with 7";
  expect(bridge.termination()).toMatchObject({ reason, message: expect.stringContaining(message) });
});

test("a bridge that cannot start leaves BridgeFailed and why", async () => {
  const bridge = await start();
  await bridge.stop();
  const home = join(bridge.volume.folder, "home");
  await rm(home, { recursive: true });
  await writeFile(home, "");
  await expect(startTestBridge({ volume: bridge.volume })).rejects.toThrow("home");
  expect(bridge.termination()).toMatchObject({ reason: "BridgeFailed" });
  expect(bridge.termination().message).toContain("home");
});

test("an app-server that hangs is ended and started again; peers are told why", async () => {
  const bridge = await start({ tuning: { livenessMs: 50 } });
  const peer = await bridge.join();
  await peer.request("test/echo", {});
  const pid = bridge.appServerPid();
  process.kill(pid, "SIGSTOP");
  await eventually("not ready", async () => (await bridge.get("/readyz")).status === 503);
  await eventually("another one", async () => {
    await bridge.get("/readyz");
    return (await bridge.status()).restarts === 1;
  });
  const { params } = await peer.notification("argus/restarted");
  expect(params?.reason).toContain("did not answer");
  expect(await peer.request("test/echo", { again: true })).toEqual({ again: true });
  expect(await alive(pid)).toBe(false);
});

test.skipIf(process.platform !== "linux")(
  "the successor of a killed bridge ends the app-server that it left before it starts its own",
  async () => {
    const volume = { ...(await makeVolume()), podUid: randomUUID() };
    const old = join(volume.folder, "old-pid");
    const overlap = join(volume.folder, "overlap");
    const lives = `test -e ${old} && grep -q "^State:.[^Z]" /proc/$(cat ${old})/status`;
    const look = `${lives} && touch ${overlap}; exec "$@"`;
    const runtime = { command: ["/bin/sh", "-c", look, "sh", ...FAKE_APP_SERVER] };
    const env = { FAKE_STAYS: "1" };
    const first = await startBridgeProcess({ volume, runtime, env });
    const peer = await first.bridge.join();
    await peer.request("test/echo", {});
    const pid = first.bridge.appServerPid();
    await writeFile(old, String(pid));
    await first.kill();
    await peer.closed;
    expect(await alive(pid)).toBe(true);
    const second = await startTestBridge({ volume, runtime });
    const next = await second.join();
    expect(await next.request("test/echo", { mine: true })).toEqual({ mine: true });
    expect(second.appServerPid()).not.toBe(pid);
    expect([await alive(pid), existsSync(overlap)]).toEqual([false, false]);
    await second.stop();
    await removeVolume(volume);
  },
);
