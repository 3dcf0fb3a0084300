import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { isConflict } from "#cluster/kube-error.ts";
import { argusCrons, events } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import type { ControllerOptions } from "#controller/options.ts";
import type { ArgusCronSpecInput } from "#crds/argus-cron.ts";
import type { ArgusCron } from "#crds/kinds.ts";
import { EventEndpoint } from "../fakes/event-endpoint.ts";
import {
  ControllerRig,
  NAMESPACE,
  type RunningController,
  recordingKube,
} from "../support/controller-rig.ts";
import { eventually } from "../support/eventually.ts";

let rig: ControllerRig;
let endpoint: EventEndpoint;
let folder: string;
const running: RunningController[] = [];
beforeAll(async () => {
  rig = await ControllerRig.start();
  folder = await mkdtemp(join(tmpdir(), "argus-cron-"));
});
afterAll(async () => {
  await rig.stop();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  endpoint = await EventEndpoint.start();
});
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
  for (const { metadata } of (await rig.kube.list(argusCrons)).items) {
    await rig.kube.delete({ resource: argusCrons, namespace: NAMESPACE, name: metadata.name });
  }
  await endpoint.stop();
});

async function controlled(
  options: Partial<ControllerOptions> = {},
  around?: Parameters<typeof recordingKube>[2],
) {
  const writes: string[] = [];
  const kube = recordingKube(rig.kube, writes, around);
  const controller = await rig.controller({ kube, gatewayUrl: endpoint.url, ...options });
  running.push(controller);
  return { controller, cronWrites: () => writes.filter((write) => write.endsWith("arguscrons")) };
}

const EVERY_SECOND = "* * * * * *";
const NEVER_SOON = "0 0 29 2 *";

async function apply(name: string, spec: Partial<ArgusCronSpecInput> = {}): Promise<ArgusCron> {
  const object = {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusCron",
    metadata: { name, namespace: NAMESPACE },
    spec: {
      schedule: EVERY_SECOND,
      sessionRef: { name: "main" },
      event: { text: "tick" },
      ...spec,
    },
  };
  const made = await rig.kube.apply(argusCrons, object, {
    fieldManager: "person",
    force: true,
  });
  return made as ArgusCron;
}

function cronNow(name: string): Promise<ArgusCron | undefined> {
  return rig.kube.get({ resource: argusCrons, namespace: NAMESPACE, name });
}

/** The cron once `Ready` has this reason. */
function ready(name: string, reason: string): Promise<ArgusCron> {
  return eventually(
    `${name} is ${reason}`,
    async () => {
      const cron = await cronNow(name);
      const found = cron?.status?.conditions?.find(({ type }) => type === "Ready");
      return found?.reason === reason && cron;
    },
    15_000,
  );
}

/** The cron once this holds for it. */
function once(
  name: string,
  what: string,
  holds: (cron: ArgusCron) => boolean | undefined,
): Promise<ArgusCron> {
  return eventually(
    what,
    async () => {
      const cron = await cronNow(name);
      return cron && holds(cron) && cron;
    },
    30_000,
  );
}

const secondOf = (time: string | undefined) => Date.parse(time ?? "") / 1000;

const queued = (count: number) =>
  eventually(`${count} slots`, () => endpoint.ledger.queuedSlots().length >= count, 30_000);

test("slots are posted in order with their keys, and the status follows", async () => {
  await rig.apply("main");
  await controlled();
  const made = await apply("ticks");
  await queued(4);
  const cron = await once("ticks", "a run", ({ status }) => status?.lastRun !== undefined);
  const [first] = endpoint.requests;
  const slot = String(first?.event.slot);
  expect(first?.event).toEqual({
    key: `${made.metadata.uid}/${Date.parse(slot) / 1000}`,
    sessionId: "main",
    kind: "cron",
    text: "tick",
    concurrencyPolicy: "Allow",
    slot,
    source: { name: "ticks", uid: made.metadata.uid },
  });
  // On a busy machine a slot may be too late for its second: then it is counted.
  const cursor = secondOf(cron.status?.lastScheduleTime);
  const slots = endpoint.ledger.queuedSlots().filter((each) => each <= cursor);
  expect(slots).toEqual([...new Set(slots)].toSorted((a, b) => a - b));
  const missed = cron.status?.missedSchedules ?? 0;
  expect(slots.length + missed).toBe(cursor - secondOf(made.metadata.creationTimestamp));
  expect(cron.status?.conditions?.map(({ type, status }) => `${type} ${status}`)).toEqual([
    "Ready True",
    "ScheduleValid True",
    "SessionFound True",
  ]);
});

test("a schedule that waits is written once, and nothing is written after that", async () => {
  await rig.apply("main");
  const { cronWrites } = await controlled();
  await apply("waits", { schedule: NEVER_SOON, timeZone: "Europe/Helsinki" });
  const cron = await ready("waits", "Scheduled");
  expect(cron.status?.nextScheduleTime).toMatch(/-02-28T22:00:00Z$/);
  await rig.kube.jsonPatch({ resource: argusCrons, namespace: NAMESPACE, name: "waits" }, [
    { op: "add", path: "/metadata/labels", value: { touched: "1" } },
  ]);
  await apply("other", { schedule: NEVER_SOON });
  await ready("other", "Scheduled");
  expect(cronWrites()).toEqual(["applyStatus arguscrons", "applyStatus arguscrons"]);
});

test("whatever the endpoint does, each slot is queued once and none is lost silently", async () => {
  await rig.apply("main");
  const faults = [
    { answer: 500 },
    { cut: "before commit" },
    { cut: "after commit" },
    { answer: 429, headers: { "retry-after": "1" } },
    { answer: 404, body: { detail: "Not Found" } },
    { answer: 202, text: "<html>" },
    { answer: 403 },
    { answer: 503 },
  ] as const;
  let requests = 0;
  endpoint.fault = () => {
    requests += 1;
    return requests % 2 === 0 ? faults[(requests / 2 - 1) % faults.length] : undefined;
  };
  await controlled();
  const made = await apply("hard", { schedule: "*/2 * * * * *" });
  await eventually("each fault", () => requests > 2 * faults.length, 60_000);
  endpoint.fault = () => undefined;
  const seen = endpoint.ledger.fates.size;
  await queued(seen + 2);
  const { status } = await once("hard", "the end", (cron) => {
    return cron.status?.lastScheduleTime === cron.status?.lastRun?.slot;
  });
  const cursor = secondOf(status?.lastScheduleTime);
  const all = cursor / 2 - Math.floor(secondOf(made.metadata.creationTimestamp) / 2);
  const ran = endpoint.ledger.queuedSlots().filter((slot) => slot <= cursor);
  // A slot whose answer was cut off may have been counted as missed by the time the next one was due.
  expect(ran.length + (status?.missedSchedules ?? 0) - all).toBeOneOf([0, 1]);
}, 120_000);

test("a gateway that asks for a pause gets no further slot until it is over", async () => {
  await rig.apply("main");
  endpoint.fault = () => ({ answer: 429, headers: { "retry-after": "4" } });
  await controlled();
  await apply("eager");
  await ready("eager", "GatewayBusy");
  endpoint.fault = () => undefined;
  await ready("eager", "Scheduled");
  const [first, second] = endpoint.requests.map(({ atMs }) => atMs);
  expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(3990);
  const { status } = await once(
    "eager",
    "a skip",
    (cron) => (cron.status?.missedSchedules ?? 0) > 2,
  );
  expect(status?.lastSkip?.reason).toBe("MissedWhileDown");
});

test("a gateway without the endpoint is said, and the slot waits for its successor", async () => {
  await rig.apply("main");
  endpoint.fault = () => ({ answer: 404, body: { detail: "Not Found" } });
  await controlled();
  const minute = new Date(Date.now() + 4000).toISOString();
  const schedule = `${Number(minute.slice(17, 19))} ${Number(minute.slice(14, 16))} * * * *`;
  await apply("early", { schedule });
  const cron = await ready("early", "GatewayTooOld");
  expect(cron.status?.lastScheduleTime).toBeUndefined();
  endpoint.fault = () => undefined;
  await ready("early", "Scheduled");
  expect(endpoint.ledger.queuedSlots()).toHaveLength(1);
  expect((await cronNow("early"))?.status).toMatchObject({ missedSchedules: 0 });
});

test("a controller that dies between post and status repeats a post that changes nothing", async () => {
  await rig.apply("main");
  const died = Promise.withResolvers<void>();
  let kill = () => {};
  const { controller } = await controlled({}, (write, call) => {
    if (!write.endsWith("arguscrons") || endpoint.requests.length === 0) return call();
    kill();
    died.resolve();
    return Promise.reject(new Error("dead"));
  });
  kill = () => controller.kill();
  const minute = new Date(Date.now() + 4000).toISOString();
  const schedule = `${Number(minute.slice(17, 19))} ${Number(minute.slice(14, 16))} * * * *`;
  const { metadata } = await apply("dies", { schedule });
  await died.promise;
  await controller.closed;
  expect((await cronNow("dies"))?.status?.lastScheduleTime).toBeUndefined();
  await controlled();
  const cron = await once(
    "dies",
    "the cursor",
    ({ status }) => status?.lastScheduleTime !== undefined,
  );
  expect(endpoint.requests).toHaveLength(2);
  expect([...endpoint.ledger.fates.keys()]).toEqual([
    `${metadata.uid}/${Date.parse(cron.status?.lastScheduleTime ?? "") / 1000}`,
  ]);
});

test("wrong zone, wrong schedule, suspended, no session: a condition that names it, and its end", async () => {
  await controlled();
  await apply("wrong", { timeZone: "Europe/Nowhere", sessionRef: { name: "later" } });
  expect((await ready("wrong", "UnknownTimeZone")).status?.conditions?.[0]?.message).toContain(
    "Europe/Nowhere",
  );
  await apply("wrong", { schedule: "61 * * * *", sessionRef: { name: "later" } });
  await ready("wrong", "BadSchedule");
  await apply("wrong", { suspend: true, sessionRef: { name: "later" } });
  const suspended = await ready("wrong", "Suspended");
  expect(suspended.status?.nextScheduleTime).toBeUndefined();
  await apply("wrong", { suspend: false, sessionRef: { name: "later" } });
  const skipped = await once("wrong", "a skip", ({ status }) => {
    return status?.lastSkip?.reason === "SessionNotFound";
  });
  expect(skipped.status?.lastScheduleTime).toBe(skipped.status?.lastSkip?.slot);
  expect(endpoint.requests).toEqual([]);
  await rig.apply("later");
  await ready("wrong", "Scheduled");
  await queued(1);
  const told = await rig.kube.list<KubeObject & { reason?: string }>(events, {
    namespace: NAMESPACE,
  });
  const reasons = new Set(told.items.map(({ reason }) => reason));
  expect([...reasons]).toEqual(
    expect.arrayContaining(["UnknownTimeZone", "BadSchedule", "SessionNotFound", "ScheduleMissed"]),
  );
});

test("the token that proves who posts is read again when it was rotated", async () => {
  await rig.apply("main");
  const gatewayTokenFile = join(folder, "token");
  await writeFile(gatewayTokenFile, "first\n");
  endpoint.fault = ({ token }) => (token === "second" ? undefined : { answer: 401 });
  await controlled({ gatewayTokenFile });
  await apply("proves");
  await ready("proves", "GatewayRefusesToken");
  expect(endpoint.requests[0]?.token).toBe("first");
  await writeFile(gatewayTokenFile, "second\n");
  await ready("proves", "Scheduled");
  await queued(1);
});

test("the API server refuses what C1, C2 and the bounds forbid", async () => {
  const refused = async (spec: Partial<ArgusCronSpecInput>) =>
    String(await apply("refused", spec).catch((error: unknown) => error));
  expect(await refused({ schedule: "TZ=UTC * * * * *" })).toContain(
    "put the time zone into timeZone",
  );
  expect(await refused({ timeZone: "Local" })).toContain("name a zone, for example UTC");
  expect(await refused({ startingDeadlineSeconds: 9 })).toContain("startingDeadlineSeconds");
  expect(await refused({ event: { text: "" } })).toContain("event.text");
  expect(await refused({ event: { text: "x".repeat(16_385) } })).toContain("event.text");
  await apply("taken", { schedule: "@daily", timeZone: "Etc/GMT+3", startingDeadlineSeconds: 10 });
});

test("a status for an older version of the cron is refused, so nobody who was asleep moves a cursor", async () => {
  const old = await apply("fenced", { schedule: NEVER_SOON });
  await apply("fenced", { schedule: NEVER_SOON, suspend: true });
  const { name, namespace, resourceVersion } = old.metadata;
  const object = {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusCron",
    metadata: { name, namespace, resourceVersion },
    status: { missedSchedules: 1 },
  } as KubeObject;
  const failure = await rig.kube
    .applyStatus(argusCrons, object, { fieldManager: "argus-controller-cron", force: true })
    .catch((error: unknown) => error);
  expect(isConflict(failure)).toBe(true);
});
