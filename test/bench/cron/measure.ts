import { setTimeout as delay } from "node:timers/promises";
import { Cron } from "croner";
import type { Informer, KubeClient, KubeObject } from "#cluster/types.ts";
import { Agenda } from "#controller/cron/agenda.ts";
import { GatewayPost } from "#controller/cron/post.ts";
import { CronReconciler } from "#controller/cron/reconcile.ts";
import { openSchedule } from "#controller/cron/schedule.ts";
import { timeOf } from "#controller/cron/status.ts";
import { Written } from "#controller/written.ts";
import type { ArgusCron, ArgusSession } from "#crds/kinds.ts";
import { systemClock } from "#lib/clock.ts";
import { WorkQueue } from "#lib/workqueue.ts";

/** Measures one thing in this process and prints it as JSON: `measure.ts <what> <schedules> <quick|full> [url]`. */
export interface Measured {
  ms?: number;
  kib?: number;
  percent?: number;
  /** Per schedule. */
  cpuUs?: number;
  p50Ms?: number;
  p99Ms?: number;
}

const WORKERS = 32;
const PATTERNS = ["*/5 * * * *", "0 9 * * MON-FRI", "30 */3 * * *", "15 8 1 * *", "0 0 29 2 *"];
const ZONES = ["Europe/Helsinki", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"];
const open = { check: () => {}, signal: new AbortController().signal };

const [what = "", countText = "0", size = "quick", url = ""] = process.argv.slice(2);
const count = Number(countText);

const kinds = Array.from({ length: count }, (_, index) => ({
  key: `default/cron-${index}`,
  pattern: PATTERNS[index % PATTERNS.length] ?? "",
  zone: ZONES[index % ZONES.length] ?? "",
}));

function load(agenda: Agenda): void {
  for (const { key, pattern, zone } of kinds) {
    const nextMs = openSchedule(pattern, zone).schedule?.nextMs(Date.now());
    if (nextMs !== undefined) agenda.set(key, nextMs);
  }
}

function loadCroner(): Cron[] {
  return kinds.map(({ pattern, zone }) => {
    const cron = new Cron(pattern, { timezone: zone, paused: true });
    cron.nextRun();
    return cron;
  });
}

function timed(work: () => unknown): Measured {
  work();
  const from = performance.now();
  work();
  return { ms: performance.now() - from };
}

function grown(work: () => unknown): Measured {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const kept = work();
  globalThis.gc?.();
  const bytes = process.memoryUsage().heapUsed - before;
  // Used after the measurement, so that it is not collected before.
  if (kept === undefined) throw new Error("nothing was kept");
  return { kib: bytes / count / 1024 };
}

async function idle(): Promise<Measured> {
  const agenda = new Agenda(() => {});
  const stop = new AbortController();
  for (const { key } of kinds) agenda.set(key, Date.now() + 3_600_000);
  const running = agenda.run(stop.signal);
  await delay(500);
  const [fromMs, from] = [performance.now(), process.cpuUsage()];
  await delay(size === "quick" ? 500 : 65_000);
  const { user, system } = process.cpuUsage(from);
  const share = (user + system) / 1000 / (performance.now() - fromMs);
  stop.abort();
  await running;
  return { percent: share * 100 };
}

/** Lets all keys become due at one moment and has workers handle them; lateness of each. */
async function dueAtOnce(
  handle: (key: string) => Promise<void>,
  dueMs = Math.ceil(Date.now() / 1000) * 1000 + 1000,
): Promise<Measured> {
  const queue = new WorkQueue();
  const agenda = new Agenda((key) => queue.add(key));
  const stop = new AbortController();
  const running = agenda.run(stop.signal);
  for (const { key } of kinds) agenda.set(key, dueMs);
  const from = process.cpuUsage();
  const late: number[] = [];
  await Promise.all(
    Array.from({ length: WORKERS }, async () => {
      while (late.length < count) {
        const key = await queue.take(stop.signal).catch(() => undefined);
        if (key === undefined) return;
        await handle(key);
        queue.done(key);
        if (late.push(Date.now() - dueMs) === count) stop.abort();
      }
    }),
  );
  await running;
  const { user, system } = process.cpuUsage(from);
  return { cpuUs: (user + system) / count, ...quantiles(late) };
}

function quantiles(values: number[]): Measured {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** The reconciler itself, with an API server that answers at once. */
async function post(): Promise<Measured> {
  const dueMs = Math.ceil(Date.now() / 1000) * 1000 + 2000;
  const { crons, kube } = cronsInMemory(dueMs);
  const gateway = new GatewayPost({ gatewayUrl: url });
  const reconciler = new CronReconciler({
    kube,
    fence: open,
    crons,
    sessions: { get: () => ({ metadata: { name: "main" } }) } as unknown as Informer<ArgusSession>,
    post: (event, fence) => gateway.post(event, fence),
    agenda: { set: () => {}, delete: () => {} },
    written: new Written(),
    events: { record: () => {} },
    metrics: { posted: () => {}, skipped: () => {} },
    clock: systemClock,
  });
  try {
    return await dueAtOnce(async (key) => {
      await reconciler.reconcile(key);
    }, dueMs);
  } finally {
    await gateway.close();
  }
}

/** The same posts without anything around them. */
async function postBare(): Promise<Measured> {
  const gateway = new GatewayPost({ gatewayUrl: url });
  try {
    return await dueAtOnce(async (key) => {
      const slot = "2026-01-01T00:00:00Z";
      const source = { name: key.slice(8), uid: key };
      const event = {
        key: `${key}/1`,
        sessionId: "main",
        kind: "cron",
        text: "tick",
        slot,
        source,
      } as const;
      await gateway.post({ ...event, concurrencyPolicy: "Allow" }, open);
    });
  } finally {
    await gateway.close();
  }
}

/** Schedules whose first slot is at this moment. */
function cronsInMemory(dueMs: number) {
  const created = timeOf(dueMs - 1000);
  const objects = new Map<string, ArgusCron>();
  for (const { key, zone } of kinds) {
    objects.set(key, {
      apiVersion: "argus.dev/v1alpha1",
      kind: "ArgusCron",
      metadata: {
        name: key.slice(8),
        namespace: "default",
        uid: key,
        resourceVersion: "1",
        creationTimestamp: created,
      },
      spec: {
        schedule: `${new Date(dueMs).getUTCSeconds()} * * * * *`,
        timeZone: zone,
        suspend: false,
        concurrencyPolicy: "Allow",
        sessionRef: { name: "main" },
        event: { text: "tick" },
      },
    });
  }
  const kube = { applyStatus: async (_: unknown, object: KubeObject) => object };
  return {
    crons: {
      get: (key: string) => objects.get(key),
      version: () => "1",
    } as unknown as Informer<ArgusCron>,
    kube: kube as unknown as KubeClient,
  };
}

const MEASURES: Record<string, () => Measured | Promise<Measured>> = {
  load: () => timed(() => load(new Agenda(() => {}))),
  "load-croner": () => timed(loadCroner),
  heap: () =>
    grown(() => {
      const agenda = new Agenda(() => {});
      load(agenda);
      return agenda;
    }),
  "heap-croner": () => grown(loadCroner),
  idle,
  due: () => dueAtOnce(async () => {}),
  post,
  "post-bare": postBare,
};

console.log(JSON.stringify(await MEASURES[what]?.()));
