import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay, setImmediate as turnOfTheLoop } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { lastTermination } from "#controller/session/last-termination.ts";
import { BOMBS, ESCAPES } from "#test/support/bombs.ts";
import { Container, type ContainerOptions } from "#test/support/container.ts";
import { eventually } from "#test/support/eventually.ts";
import { builtImages, removeImage, unpackImage, whyNoImages } from "#test/support/images.ts";
import { proofSize } from "#test/support/proof.ts";
import { whyNoNode } from "../cluster/needs.ts";

const OWN_UID = 1_200_007;
const MINUTES = 600_000;
const reason = whyNoNode() ?? (await whyNoImages());
if (reason) console.info(`not run: ${reason}`);
const possible = reason === undefined;

let rootfs = "";
const boxes: Container[] = [];
beforeAll(async () => {
  if (possible)
    rootfs = await unpackImage((await builtImages({ images: ["argus-runtime"] }))["argus-runtime"]);
}, MINUTES);
afterAll(async () => {
  if (rootfs) await removeImage(rootfs);
});
afterEach(async () => {
  await Promise.all(boxes.splice(0).map((box) => box.remove()));
});

async function start(options: Omit<ContainerOptions, "rootfs">): Promise<Container> {
  const box = await Container.start({ rootfs, ...options });
  boxes.push(box);
  return box;
}

async function startHot(options: Omit<ContainerOptions, "rootfs">): Promise<Container> {
  const box = await start(options);
  await box.ready();
  return box;
}

/** A kubelet takes a bridge that is silent for so long for dead. */
const SILENT_MS = 10_000;

/** Asks the probe until `done`; its answer times in ms, sorted. Throws when one does not come. */
async function probeUntil({ bridge }: Container, done: () => Promise<boolean>): Promise<number[]> {
  const times: number[] = [];
  do {
    const asked = performance.now();
    const { status } = await bridge.get("/readyz", AbortSignal.timeout(SILENT_MS));
    expect(status).toBeOneOf([200, 503]);
    times.push(performance.now() - asked);
    await delay(50);
  } while (!(await done()));
  return times.sort((a, b) => a - b);
}

const after = (ms: number) => {
  const end = performance.now() + ms;
  return async () => performance.now() > end;
};
const share = (sorted: number[], part: number) =>
  Math.round(sorted[Math.floor((sorted.length - 1) * part)] ?? 0);

/** States of the living and dead processes of a user id, as /proc on this machine names them. */
async function statesOf(uid: number): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const texts = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/status`, "latin1").catch(() => "")),
  );
  return texts
    .filter((text) => new RegExp(`^Uid:\\s+${uid}\\b`, "m").test(text))
    .map((text) => /^State:\s+(\w)/m.exec(text)?.[1] ?? "");
}

test.skipIf(!possible)(
  "the image runs as any user with a read-only root and nothing to gain; both limits stand",
  async () => {
    const box = await startHot({ uid: OWN_UID, pids: 64 });
    expect((await box.bridge.status()).pidIsolation).toBe("UniqueUid");
    const say = await box.exec(
      "sh",
      "-c",
      `cat /proc/1/comm; grep -h NoNewPrivs /proc/1/status; for each in /x /root/x /usr/x; do touch $each 2>&1; done
       readlink -f /root/.argus/workspace; cat /root/.argus/workspace/AGENTS.md | head -c 1 | wc -c
       for each in /proc/[0-9]*; do awk '/processes/ {print "limit", $3, $4}' $each/limits; done | sort | uniq -c`,
    );
    expect(say).toMatch(/^tini\nNoNewPrivs:\t1\n(touch: .*Read-only file system\n){3}/);
    expect(say).toContain("/home/argus/workspace\n1\n");
    expect(say).toContain("2 limit 80 80");
    expect(say).toMatch(/\d limit 64 64/);
  },
  MINUTES,
);

const LIMITS = [64, 256, 1024];
const cases = Object.keys(BOMBS).flatMap((bomb, index) =>
  LIMITS.filter((_, at) => process.env.PROVE === "full" || at === index % LIMITS.length).map(
    (pids) => [bomb, pids] as const,
  ),
);

test.skipIf(!possible).each(cases)(
  "a %s bomb under %i: never one task above the limit, the bridge answers, all gone after the kill",
  async (bomb, pids) => {
    const box = await startHot({ uid: OWN_UID + pids, pids });
    await box.agentRuns(BOMBS[bomb] ?? "");
    await eventually("the limit", async () => (await box.tasks("peak")) >= pids - 3, MINUTES);
    const times = await probeUntil(box, after(5000));
    const peak = await box.tasks("peak");
    console.info(
      `${bomb} ${pids}: peak ${peak}, probe p50 ${share(times, 0.5)} p99 ${share(times, 0.99)} ms`,
    );
    expect(peak).toBeLessThanOrEqual(pids);
    const killed = performance.now();
    await box.kill();
    expect(await statesOf(OWN_UID + pids)).toEqual([]);
    expect(performance.now() - killed).toBeLessThan(5000);
  },
  MINUTES,
);

/** A limit is given out per CPU: without one of its own the bridge would wait for minutes, at whatever priority. */
test.skipIf(!possible).each(["for (1 .. 100) { fork or last } 1 while 1", "fork while 1"])(
  "in a fifth of a CPU, beside a hundred programs of its agent (%s), the bridge answers every probe",
  async (program) => {
    const box = await startHot({ uid: OWN_UID, pids: 128, cpus: 0.2 });
    await box.agentRuns(`exec perl -e '${program}'`);
    await eventually("the load", async () => (await box.tasks()) >= 100, MINUTES);
    const times = await probeUntil(box, after(15_000));
    console.info(`probe p50 ${share(times, 0.5)} p99 ${share(times, 0.99)} ms`);
  },
  MINUTES,
);

test.skipIf(!possible)(
  "an agent that holds its limit is ended by the bridge, works again, and the cause of death says so",
  async () => {
    const box = await startHot({ uid: OWN_UID, pids: 64 });
    await box.agentRuns(BOMBS.thread ?? "");
    const killed = async () => (await box.bridge.status()).killed !== undefined;
    await probeUntil(box, killed);
    await eventually("the load is gone", async () => (await box.tasks()) < 40, 5000);
    await eventually("it works again", async () => (await box.bridge.status()).restarts === 1);
    await box.ready();
    expect(await box.bridge.status()).toMatchObject({ pidLimitHit: true, restarts: 1 });
    await box.terminate();
    expect(box.bridge.termination()).toMatchObject({ reason: "Stopped", pidLimitHit: true });
  },
  MINUTES,
);

test.skipIf(!possible)(
  "scripted escapes: none gets a task above the limit",
  async () => {
    const box = await startHot({ uid: OWN_UID, pids: 64 });
    const rounds = proofSize(10, 100);
    await box.agentRuns(`ROUNDS=${rounds}\n${ESCAPES}`);
    expect(Number(await box.agentWrote("escaped", MINUTES))).toBe(rounds * 10);
    const peak = await box.tasks("peak");
    console.info(`${rounds * 10} escapes: peak ${peak} of 64`);
    expect(peak).toBeGreaterThanOrEqual(60);
    expect(peak).toBeLessThanOrEqual(64);
    const limits = await box.exec("sh", "-c", "grep -h processes /proc/1/limits");
    expect(limits).toMatch(/80\s+80/);
    expect((await box.bridge.get("/readyz")).status).toBe(200);
  },
  MINUTES,
);

test.skipIf(!possible)(
  "a session at its limit takes nothing from its neighbour",
  async () => {
    const [full, free] = await Promise.all([
      startHot({ uid: OWN_UID, pids: 64 }),
      startHot({ uid: OWN_UID + 1, pids: 128 }),
    ]);
    await full.agentRuns(BOMBS.thread ?? "");
    await eventually("the limit", async () => (await full.tasks()) >= 63);
    await free.agentRuns(`perl -e 'my $failed = 0;
      for (1 .. 50) { my $child = fork; $failed++ unless defined $child; exec "sleep", "5" if defined $child && !$child }
      print $failed' > ~/failed.new; mv ~/failed.new ~/failed`);
    expect(await free.agentWrote("failed")).toBe("0");
    expect(await free.tasks()).toBeGreaterThanOrEqual(50);
  },
  MINUTES,
);

test.skipIf(!possible)(
  "orphans are reaped: they never use the limit up, and none is left",
  async () => {
    const box = await startHot({ uid: OWN_UID, pids: 128 });
    const forks = proofSize(2000, 10_000);
    await box.agentRuns(`perl -e 'for (1 .. ${forks}) { my $child = fork; die unless defined $child;
      if (!$child) { fork; exit } waitpid $child, 0 } ' 2> ~/error; echo "$?" > ~/code; mv ~/code ~/forked`);
    const reaper = await box.reaper();
    const resting: number[] = [];
    const busy: number[] = [];
    const forked = box.agentWrote("forked", MINUTES);
    const forking = new AbortController();
    void forked.finally(() => forking.abort());
    while (!forking.signal.aborted) {
      const before = reaper.rests();
      const zombies = reaper.zombies();
      (before && reaper.rests() ? resting : busy).push(zombies);
      await turnOfTheLoop();
    }
    const [most, mostBusy] = [resting, busy].map((all) => Math.max(0, ...all));
    console.info(
      `${forks} double forks: at most ${most} zombies in ${resting.length} samples of a resting reaper, ${mostBusy} in ${busy.length} of a busy one`,
    );
    expect(await forked).toBe("0\n");
    // Whoever has nothing to do has left nothing. One that stands in line for a processor finds more, by the machine's load: a pod
    // without rights cannot ask for a better place. Unreaped, the limit would have been used up 15 times.
    expect(most).toBeLessThanOrEqual(5);
    expect(mostBusy).toBeLessThan(128);
    expect((await statesOf(OWN_UID)).filter((state) => state === "Z")).toEqual([]);
  },
  MINUTES,
);

test.skipIf(!possible)(
  "in a user namespace the limit holds for an id that others have too",
  async () => {
    const box = await startHot({ uid: 1000, pids: 64, mappedTo: 3_000_000 });
    expect((await box.bridge.status()).pidIsolation).toBe("UserNamespace");
    await box.agentRuns(BOMBS.thread ?? "");
    await eventually("the limit", async () => (await box.tasks("peak")) >= 61);
    await probeUntil(box, after(2000));
    expect(await box.tasks("peak")).toBeLessThanOrEqual(64);
  },
  MINUTES,
);

test.skipIf(!possible)(
  "with a low id and no user namespace nothing is limited by user, and the bridge says so",
  async () => {
    const box = await startHot({ uid: 1000, pids: 64 });
    expect((await box.bridge.status()).pidIsolation).toBe("Degraded");
    // A process may end between its listing and its reading.
    const limits = await box.exec("sh", "-c", "grep -hs processes /proc/[0-9]*/limits || true");
    expect(limits).toMatch(/processes/);
    expect(limits).not.toMatch(/\b(64|80)\b/);
  },
  MINUTES,
);

/** As a kubelet reports a container that ended with this message. */
const podWith = (message: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p" },
  spec: { containers: [{ name: "agent", image: "x" }] },
  status: {
    containerStatuses: [
      {
        name: "agent",
        ready: false,
        restartCount: 0,
        image: "x",
        imageID: "",
        state: { terminated: { exitCode: 0, finishedAt: "2026-01-01T00:00:00Z", message } },
      },
    ],
  },
});

test.skipIf(!possible).each([
  ["InstallFailed", { install: "echo no network; exit 3" }, /3/],
  ["AppServerFailed", { command: ["/bin/sh", "-c", "exit 7"] }, /exited with 7/],
  ["AppServerFailed", { command: ["/bin/sh", "-c", "kill -SEGV $$"] }, /SIGSEGV/],
])(
  "a pod that dies of %s leaves it where the controller reads it (%j)",
  async (cause, runtime, words) => {
    const box = await start({ uid: OWN_UID, pids: 128, runtime });
    await eventually("failed", async () => (await box.bridge.status()).state === "failed");
    await box.terminate();
    const message = await readFile(`${box.folder}/termination-log`, "utf8");
    const told = lastTermination(podWith(message), undefined, undefined);
    expect(told?.reason).toBe(cause);
    expect(told?.message).toMatch(words);
  },
  MINUTES,
);

test.skipIf(!possible)(
  "an agent that takes all the memory: the kernel's kill is told, in the status and as the cause of death",
  async () => {
    const command = ["/bin/sh", "-c", 'perl -e "my \\$all = q(x) x 4e8; sleep 60"; exit 1'];
    const memoryBytes = 200 * 2 ** 20;
    const box = await start({ uid: OWN_UID, pids: 128, memoryBytes, runtime: { command } });
    const status = await eventually("the kill", async () => {
      const { killed } = await box.bridge.status();
      return killed && { killed };
    });
    expect(status.killed).toMatchObject({ reason: "OOMKilled" });
    expect(status.killed.message).toContain("200 MiB");
  },
  MINUTES,
);
