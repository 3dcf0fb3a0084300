import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { type Logger, silentLogger } from "#lib/logger.ts";
import { processTable } from "#lib/process-table.ts";
import { type Cgroups, openCgroups, removeCgroups } from "#localcluster/kubelet/cgroup.ts";
import type { ContainerWorld } from "#localcluster/kubelet/container-plan.ts";
import { planContainer } from "#localcluster/kubelet/container-plan.ts";
import { terminationFile } from "#localcluster/kubelet/container-run.ts";
import { type ContainerHome, workContainer } from "#localcluster/kubelet/container-worker.ts";
import type { KubeletContext } from "#localcluster/kubelet/context.ts";
import { LogStore } from "#localcluster/kubelet/log-store.ts";
import type { Container, Pod } from "#localcluster/kubelet/pod.ts";
import { recover } from "#localcluster/kubelet/recover.ts";
import { RunRecords } from "#localcluster/kubelet/run-records.ts";
import type { ContainerRecord } from "#localcluster/kubelet/status.ts";
import { Wake } from "#localcluster/kubelet/wake.ts";

const logger: Logger = silentLogger();
const endings: (() => Promise<unknown>)[] = [];
let pods = 0;

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

interface Bench {
  record: ContainerRecord;
  done: Promise<void>;
  events: string[];
  records: RunRecords;
  folder: string;
  /** Resolves when the record first looks like this. */
  until(what: (record: ContainerRecord) => boolean): Promise<void>;
  end(): void;
  log(): Promise<string>;
}

interface BenchOptions {
  policy?: ContainerHome["restartPolicy"];
  graceMs?: number;
  cgroups?: Cgroups | undefined;
  /** Pauses between restarts take no time. */
  impatient?: boolean;
}

/** One container in a pod of its own, without an API server. */
async function run(container: Partial<Container>, options: BenchOptions = {}): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), "argus-container-"));
  pods += 1;
  const podUid = `test-${process.pid}-${pods}`;
  const full: Container = { name: "agent", ...container };
  const pod: Pod = { metadata: { name: "p", uid: podUid }, spec: { containers: [full] } };
  const records = await RunRecords.open(join(folder, "run", "pods.json"));
  const logs = new LogStore(join(folder, "logs"));
  const context = { logs, runs: records, cgroups: options.cgroups, logger } as KubeletContext;
  const ending = new AbortController();
  const changes = new Wake();
  const events: string[] = [];
  const record: ContainerRecord = {
    name: "agent",
    ready: false,
    started: false,
    restartCount: 0,
    state: { waiting: { reason: "ContainerCreating" } },
    lastState: {},
  };
  const own = join(folder, "containers", "agent");
  const world: ContainerWorld = {
    podIp: "127.77.3.4",
    hostIp: "127.0.0.1",
    nodeName: "local",
    keyed: new Map(),
    mappings: [{ inside: "/dev/termination-log", outside: terminationFile(own) }],
    environment: { PATH: "/usr/bin:/bin" },
    binFolder: join(folder, "bin"),
  };
  const home: ContainerHome = {
    context,
    podUid,
    podIp: "127.0.0.1",
    restartPolicy: options.policy ?? "Never",
    graceMs: () => options.graceMs ?? 5000,
    signal: ending.signal,
    hurry: new AbortController().signal,
    plan: () =>
      Promise.resolve()
        .then(() => planContainer(pod, full, world))
        .then((plan) => ({ plan, owner: undefined })),
    folderOf: () => own,
    alone: () => true,
    changed: () => changes.fire(),
    event: ({ reason, message }) => events.push(`${reason}: ${message}`),
    pause: (ms) => new Wake().wait(options.impatient ? 1 : ms, ending.signal),
  };
  const done = workContainer(home, full, { record, init: false });
  endings.push(async () => {
    ending.abort();
    await done;
  });
  const until = async (what: (record: ContainerRecord) => boolean) => {
    const deadline = AbortSignal.timeout(30_000);
    while (!what(record)) {
      await changes.wait(60_000, deadline);
      deadline.throwIfAborted();
    }
  };
  const target = { namespace: "default", name: "p", uid: podUid };
  const log = async () => {
    const { signal } = new AbortController();
    const parts = await Array.fromAsync(logs.read(target, { follow: false }, signal));
    return Buffer.concat(parts).toString();
  };
  return { record, done, events, records, folder, until, end: () => ending.abort(), log };
}

/** `$$` in a word is one `$`, as Kubernetes has it. */
const script = (text: string): Partial<Container> => ({
  command: ["/bin/sh", "-c", text.replaceAll("$$", "$$$$$$$$")],
});
const living = async (pids: number[]) =>
  (await processTable()).filter(({ pid }) => pids.includes(pid)).map(({ pid }) => pid);

test("a container that ends tells its code, its last words and its output", async () => {
  const words = 'echo out; echo err >&2; echo "the reason" > /dev/termination-log; exit 7';
  // The path inside the script is text; as a word of its own it is rewritten.
  const bench = await run({
    command: ["/bin/sh", "-c", words.replace("/dev/termination-log", '"$1"'), "sh"],
    args: ["/dev/termination-log"],
  });
  await bench.done;
  expect(bench.record).toMatchObject({
    ready: false,
    state: { terminated: { exitCode: 7, reason: "Error", message: "the reason\n" } },
  });
  expect((await bench.log()).split("\n").sort()).toEqual(["", "err", "out"]);
});

test("a signal is told apart from a code, and the end of the output can be the message", async () => {
  const bench = await run({
    ...script("echo last words; kill -9 $$"),
    terminationMessagePolicy: "FallbackToLogsOnError",
  });
  await bench.done;
  expect(bench.record.state.terminated).toMatchObject({
    exitCode: 137,
    signal: 9,
    reason: "Error",
    message: "last words\n",
  });
});

test("a program that does not exist is a start error that names it", async () => {
  const bench = await run({ command: ["no-such-program"] });
  await bench.done;
  expect(bench.record.state.terminated).toMatchObject({ exitCode: 128, reason: "StartError" });
  expect(bench.record.state.terminated?.message).toContain("no-such-program");
});

test("a process is on record before its program begins", async () => {
  const bench = await run(script("cat ../../run/pods.json; echo; echo $$"));
  await bench.done;
  const [json = "", pid] = (await bench.log()).trim().split("\n");
  expect(JSON.parse(json)).toMatchObject([{ pid: Number(pid), container: "agent" }]);
});

test("Always restarts with a counted run, a pause and the last state", async () => {
  const bench = await run(script("exit 3"), { policy: "Always", impatient: true });
  await bench.until(({ restartCount }) => restartCount >= 3);
  expect(bench.record.lastState.terminated).toMatchObject({ exitCode: 3, reason: "Error" });
  expect(bench.events.filter((event) => event.startsWith("BackOff"))[0]).toContain("agent");
  bench.end();
  await bench.done;
});

test("while it waits for its restart it says so, and it can be ended there", async () => {
  const bench = await run(script("exit 3"), { policy: "Always" });
  await bench.until(({ state }) => state.waiting?.reason === "CrashLoopBackOff");
  expect(bench.record.state.waiting?.message).toContain("back-off 1s");
  bench.end();
  await bench.done;
});

test("OnFailure runs until it succeeds", async () => {
  const text = 'n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; [ "$n" -ge 2 ]';
  const bench = await run(script(text), { policy: "OnFailure", impatient: true });
  await bench.done;
  expect(bench.record).toMatchObject({ restartCount: 2, state: { terminated: { exitCode: 0 } } });
});

test("the end of a pod is SIGTERM to all, the grace, then SIGKILL to what is left", async () => {
  const text = `trap 'echo bye; exit 0' TERM; setsid sh -c 'trap "" TERM; echo $$; while :; do sleep 0.05; done' & echo ready; while :; do sleep 0.05; done`;
  const bench = await run(script(text), { graceMs: 500 });
  let pid = 0;
  while (!pid) pid = Number(/^\d+$/m.exec(await bench.log().catch(() => ""))?.[0] ?? 0);
  expect(await living([pid])).toEqual([pid]);
  bench.end();
  await bench.done;
  expect(await living([pid])).toEqual([]);
  expect(await bench.log()).toContain("bye");
  expect(bench.record.state.terminated).toMatchObject({ exitCode: 0, reason: "Completed" });
  expect(bench.events).toContain("Killing: Stopping container agent");
});

test("what a run leaves behind is ended before the next one", async () => {
  const text = "sleep 300 & echo $!; env -i setsid sleep 300 & echo $!; exit 1";
  const bench = await run(script(text));
  await bench.done;
  const pids = (await bench.log()).trim().split("\n").map(Number);
  expect(pids).toHaveLength(2);
  expect(await living(pids.slice(0, 1))).toEqual([]);
  for (const pid of await living(pids)) process.kill(pid, "SIGKILL");
});

test("a failing liveness probe restarts the container, readiness follows its probe", async () => {
  const server = `
    let bad = false;
    require("node:http").createServer((request, response) => {
      if (request.url === "/break") bad = true;
      response.statusCode = bad && request.url === "/live" ? 500 : 200;
      response.end();
    }).listen(0, "127.0.0.1", function () { console.log(this.address().port); });`;
  // A port cannot be known before: the probe goes to a fixed one of this process.
  const port = 20_000 + (process.pid % 20_000);
  const bench = await run(
    {
      command: [process.execPath, "-e", server.replace("listen(0,", `listen(${port},`)],
      ports: [{ name: "probe", containerPort: port }],
      readinessProbe: { httpGet: { path: "/", port: "probe" }, periodSeconds: 0.05 },
      livenessProbe: { httpGet: { path: "/live", port }, periodSeconds: 0.05, failureThreshold: 2 },
      startupProbe: { tcpSocket: { port }, periodSeconds: 0.05, failureThreshold: 200 },
    },
    { policy: "Always", impatient: true },
  );
  await bench.until(({ ready }) => ready);
  expect(bench.record.started).toBe(true);
  await fetch(`http://127.0.0.1:${port}/break`);
  await bench.until(({ restartCount }) => restartCount === 1);
  await bench.until(({ ready }) => ready);
  expect(bench.events.join("\n")).toContain("Unhealthy: Liveness probe failed: HTTP probe failed");
  expect(bench.events.join("\n")).toContain("failed liveness probe, will be restarted");
});

test("a probe that is not run here counts as passed, and that is said", async () => {
  const bench = await run({
    ...script("exec sleep 300"),
    readinessProbe: { exec: { command: ["false"] } },
  });
  await bench.until(({ ready }) => ready);
  expect(bench.events.join()).toContain("ProbeUnsupported");
});

test("after a crash of everything the recorded processes are ended, and only those", async () => {
  const bench = await run(script("sleep 300 & echo $!; exec sleep 300"));
  await bench.until(({ state }) => Boolean(state.running));
  let child = 0;
  while (!child) child = Number((await bench.log().catch(() => "")).trim());
  const file = join(bench.folder, "run", "pods.json");
  const stranger = await run(script("exec sleep 300"));
  await stranger.until(({ state }) => Boolean(state.running));
  const again = await RunRecords.open(file);
  const [recorded] = again.list();
  const [other] = stranger.records.list();
  expect(await recover(again, undefined)).toEqual(new Set([`${recorded?.podUid}/agent`]));
  expect(await living([recorded?.pid ?? 0, child])).toEqual([]);
  expect(await living([other?.pid ?? 0])).toEqual([other?.pid]);
});

const cgroups = await openCgroups(`test-${process.pid}`);
afterAll(async () => {
  if (cgroups) await removeCgroups(cgroups, true);
});

test.runIf(cgroups)("a memory limit is real, and its breach is OOMKilled", async () => {
  const hog = "const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1));";
  const bench = await run(
    { command: [process.execPath, "-e", hog], resources: { limits: { memory: "128Mi" } } },
    { cgroups },
  );
  await bench.done;
  expect(bench.record.state.terminated).toMatchObject({ exitCode: 137, reason: "OOMKilled" });
});

test.runIf(cgroups)(
  "a limit of processes is real, and no process escapes the end of its run",
  async () => {
    const text =
      "env -i setsid sleep 300 & echo $!; for i in $(seq 40); do sleep 300 & done; exit 1";
    const bench = await run({ ...script(text), resources: { limits: { pids: 20 } } }, { cgroups });
    await bench.done;
    const log = await bench.log();
    expect(log).toMatch(/fork/i);
    expect(await living([Number.parseInt(log, 10)])).toEqual([]);
  },
);
