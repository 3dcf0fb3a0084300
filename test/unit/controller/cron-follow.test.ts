import { expect, test } from "vitest";
import { Follower, followedOf } from "#controller/cron/follow.ts";
import { type Fate, fateOf } from "#controller/cron/post.ts";
import type { ArgusCronStatus } from "#crds/argus-cron.ts";
import type { ArgusCron } from "#crds/kinds.ts";
import type { EventStatus } from "#protocol/events.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const SLOT = "2026-03-29T01:00:00Z";
const SLOT_MS = Date.parse(SLOT);
const status = (more: Partial<EventStatus>): EventStatus => ({
  ok: true,
  key: "k",
  state: "Queued",
  reason: "",
  ...more,
});
const known = (more: Partial<EventStatus>): Fate => ({ state: "known", status: status(more) });
const cron = (lastRun?: ArgusCronStatus["lastRun"]): ArgusCron => ({
  apiVersion: "argus.dev/v1alpha1",
  kind: "ArgusCron",
  metadata: { name: "c", namespace: "default", uid: "uid" },
  spec: {
    schedule: "* * * * *",
    timeZone: "UTC",
    suspend: false,
    concurrencyPolicy: "Allow",
    sessionRef: { name: "main" },
    event: { text: "tick" },
  },
  status: lastRun ? { lastRun } : {},
});

test.each<[string, Fate, object | undefined]>([
  ["waits", known({}), { lastRun: { slot: SLOT, state: "Queued" } }],
  [
    "waits for another try",
    known({ reason: "no model" }),
    { lastRun: { slot: SLOT, state: "Queued", reason: "no model" } },
  ],
  [
    "succeeded",
    known({ state: "Succeeded", finishedAt: "2026-03-29T01:00:07.123Z" }),
    {
      lastRun: { slot: SLOT, state: "Succeeded", finishedAt: "2026-03-29T01:00:07Z" },
      lastSuccessfulTime: SLOT,
    },
  ],
  [
    "an earlier one succeeded meanwhile",
    known({ state: "Running", lastSuccessfulSlot: "2026-03-29T00:59:00Z" }),
    { lastRun: { slot: SLOT, state: "Running" }, lastSuccessfulTime: "2026-03-29T00:59:00Z" },
  ],
  [
    "is forgotten",
    { state: "unknown" },
    { lastRun: { slot: SLOT, state: "Failed", reason: expect.stringContaining("deleted") } },
  ],
  ["nobody can say", { state: "unheard" }, undefined],
  ["an older gateway", { state: "GatewayTooOld" }, undefined],
])("a run that %s", (_, fate, followed) => {
  expect(followedOf({ slot: SLOT, state: "Queued" }, fate)).toEqual(followed);
});

test.each<[number, string, Fate["state"]]>([
  [200, JSON.stringify(status({})), "known"],
  [200, "<html>", "unheard"],
  [404, '{"detail":"x","code":"EventNotFound"}', "unknown"],
  [404, '{"detail":"Not Found"}', "GatewayTooOld"],
  [503, "{}", "unheard"],
  [401, "{}", "unheard"],
])("an answer %i %s says %s", (code, body, state) => {
  expect(fateOf(code, body).state).toBe(state);
});

test("an open run is asked for until it is final, ever less often, also by a controller that was started anew", async () => {
  const clock = new ManualClock();
  const asked: string[] = [];
  let fate: Fate = known({});
  const options = {
    clock,
    random: () => 0,
    fate: async (session: string, key: string) => {
      asked.push(`${session} ${key}`);
      return fate;
    },
  };
  const follower = new Follower(options);
  const nothing = { result: undefined, postMs: undefined };
  const posted = { result: { state: "queued" as const }, postMs: SLOT_MS };
  expect(await follower.follow("k", cron(), posted)).toBeUndefined();
  expect(follower.nextMs("k")).toBe(clock.now() + 1000);
  // Its own write is seen: it is too early to ask.
  expect(
    await follower.follow("k", cron({ slot: SLOT, state: "Queued" }), nothing),
  ).toBeUndefined();
  expect(asked).toEqual([]);
  const waits: number[] = [];
  for (let look = 0; look < 8; look += 1) {
    const next = follower.nextMs("k") ?? 0;
    waits.push(next - clock.now());
    await clock.advance(next - clock.now());
    await follower.follow("k", cron({ slot: SLOT, state: "Queued" }), nothing);
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  expect(new Set(asked)).toEqual(new Set([`main uid/${SLOT_MS / 1000}`]));
  fate = known({ state: "Succeeded" });
  const successor = new Follower(options);
  const followed = await successor.follow("k", cron({ slot: SLOT, state: "Running" }), nothing);
  expect(followed?.lastRun?.state).toBe("Succeeded");
  expect(successor.nextMs("k")).toBeUndefined();
});

test("an older gateway is asked once", async () => {
  const clock = new ManualClock();
  let asked = 0;
  const fate = async (): Promise<Fate> => {
    asked += 1;
    return { state: "GatewayTooOld" };
  };
  const follower = new Follower({ clock, fate });
  const nothing = { result: undefined, postMs: undefined };
  for (let look = 0; look < 3; look += 1) {
    await follower.follow("k", cron({ slot: SLOT, state: "Queued" }), nothing);
    expect(follower.nextMs("k")).toBeUndefined();
    await clock.advance(60_000);
  }
  expect(asked).toBe(1);
});
