import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { Cgroup } from "#runtime/pressure/cgroup.ts";
import { parseStatus } from "#runtime/pressure/tasks.ts";
import { createPressure } from "#runtime/pressure.ts";
import { eventually } from "../../support/eventually.ts";

const root = mkdtempSync(join(tmpdir(), "argus-pressure-"));
afterAll(() => rmSync(root, { recursive: true }));

const PERIOD = { "cpu/cpu.cfs_period_us": "100000\n" };

describe("cgroup files", () => {
  let folder: string;
  let own: string;

  beforeEach(() => {
    folder = join(root, randomUUID());
    own = join(folder, "own");
  });

  function files(contents: Record<string, string>): Cgroup {
    for (const [name, text] of Object.entries(contents)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    return new Cgroup(folder, own);
  }

  test("v2 in a container: the root is the own group; the cache does not count", async () => {
    const cgroup = files({
      own: "0::/\n",
      "pids.current": "40\n",
      "pids.max": "256\n",
      "pids.events": "max 3\n",
      "memory.current": "1000\n",
      "memory.max": "4000\n",
      "memory.stat": "anon 100\ninactive_file 300\n",
      "memory.events": "low 0\noom 3\noom_kill 2\n",
    });
    expect(await cgroup.pids()).toEqual({ used: 40, limit: 256 });
    expect(await cgroup.memory()).toEqual({ used: 700, limit: 4000 });
    expect(await cgroup.pidLimitHits()).toBe(3);
    expect(await cgroup.oomKills()).toBe(2);
  });

  test("v2 on a machine: the own group lies below the root; no limit, no gauge", async () => {
    const cgroup = files({
      own: "0::/user.slice/a:b.scope\n",
      "user.slice/a": "",
      "pids.current": "9999\n",
      "pids.max": "10000\n",
    });
    expect(await cgroup.pids()).toEqual({ used: 9999, limit: 10000 });
    const nested = files({
      own: "0::/argus/one\n",
      "argus/one/pids.current": "5\n",
      "argus/one/pids.max": "max\n",
      "argus/one/memory.current": "5\n",
      "argus/one/memory.max": "max\n",
    });
    expect(await nested.pids()).toBeUndefined();
    expect(await nested.memory()).toBeUndefined();
  });

  test("v1: one hierarchy for each; a number near 2^63 is no limit", async () => {
    const cgroup = files({
      own: "8:pids:/pods/one\n4:cpu,memory:/pods/one\n0::/\n",
      "pids/pods/one/pids.current": "12\n",
      "pids/pods/one/pids.max": "64\n",
      "memory/memory.usage_in_bytes": "900\n",
      "memory/memory.limit_in_bytes": "2000\n",
      "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 400\n",
      "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    });
    expect(await cgroup.pids()).toEqual({ used: 12, limit: 64 });
    expect(await cgroup.memory()).toEqual({ used: 500, limit: 2000 });
    expect(await cgroup.oomKills()).toBe(1);
    files({ "memory/memory.limit_in_bytes": "9223372036854771712\n" });
    expect(await cgroup.memory()).toBeUndefined();
  });

  test.each([
    [{ own: "0::/\n", "cpu.max": "50000 100000\n" }, 0.5],
    [{ own: "0::/one\n", "one/cpu.max": "max 100000\n", "cpu.max": "1 2\n" }, undefined],
    [{ own: "2:cpu,cpuacct:/\n", "cpu/cpu.cfs_quota_us": "150000\n", ...PERIOD }, 1.5],
    [{ own: "2:cpu:/\n", "cpu/cpu.cfs_quota_us": "-1\n", ...PERIOD }, undefined],
  ])("the limit of CPUs in %j is %s", async (contents, cpus) => {
    expect(await files(contents).cpus()).toBe(cpus);
  });

  test("without files nothing is told", async () => {
    const cgroup = new Cgroup(join(root, "none"), join(root, "none"));
    expect(await cgroup.pids()).toBeUndefined();
    expect(await cgroup.memory()).toBeUndefined();
    expect(await cgroup.cpus()).toBeUndefined();
    expect(await cgroup.pidLimitHits()).toBe(0);
    expect(await cgroup.oomKills()).toBe(0);
  });
});

test("a status file tells parent, user, threads and memory; a zombie is one task", () => {
  const status = "Name:\tnode\nPPid:\t7\nUid:\t1000\t0\t0\t0\nVmRSS:\t  2048 kB\nThreads:\t11\n";
  expect(parseStatus(9, status)).toEqual({
    pid: 9,
    parent: 7,
    uid: 1000,
    threads: 11,
    residentBytes: 2048 * 1024,
  });
  const zombie = parseStatus(9, "State:\tZ (zombie)\nPPid:\t1\nUid:\t5\t5\t5\t5\n");
  expect(zombie).toMatchObject({ threads: 1, residentBytes: 0 });
});

describe.skipIf(process.platform !== "linux")("a sample of this process", () => {
  const podUid = randomUUID();
  const pressure = createPressure({ home: root, pids: 1_000_000, memoryBytes: 2 ** 40, podUid });

  test("counts descendants and marked strangers, not the user's other processes", async () => {
    expect(pressure.isolation).toBe("Degraded");
    const before = (await pressure.sample()).pids?.used ?? 0;
    const env = { ARGUS_POD_UID: podUid, PATH: "/usr/bin:/bin" };
    // Its parent ends at once: only the mark still tells whose it is.
    const orphan = "setsid sleep 300 >/dev/null 2>&1 & echo $!";
    const child = spawn("/bin/sh", ["-c", orphan], { env, stdio: ["ignore", "pipe", "ignore"] });
    const [pid] = (await child.stdout.toArray()) as Buffer[];
    try {
      await eventually("one more", async () => (await pressure.sample()).pids?.used === before + 1);
    } finally {
      process.kill(Number(pid), "SIGKILL");
    }
    await eventually("as before", async () => (await pressure.sample()).pids?.used === before);
  });

  test("names the limits it was given and the disk as df counts it", async () => {
    const { pids, memory, disk } = await pressure.sample();
    expect(pids?.used).toBeGreaterThan(1);
    expect(memory?.used).toBeGreaterThan(10_000_000);
    const { bavail, bsize } = statfsSync(root);
    const free = (disk?.limit ?? 0) - (disk?.used ?? 0);
    expect(free / (bavail * bsize)).toBeCloseTo(1, 1);
  });
});
