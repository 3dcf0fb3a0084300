import fc from "fast-check";
import { expect, test } from "vitest";
import {
  activeFrom,
  hasTasks,
  heartbeatAt,
  knowTasks,
  requestHeartbeat,
  skipHeartbeat,
} from "#gateway/lanes/heartbeat.ts";
import { emptyDocument } from "#protocol/session-document.ts";

const beat = emptyDocument("s").heartbeat;
const spec = { intervalSeconds: 1800 };
const facts = { uid: "u", createdAt: 1_000_000, isUp: true };
const at = (text: string) => Date.parse(text);

test("due an interval after the last one, a little late and always by the same", () => {
  const due = heartbeatAt(beat, spec, facts) ?? 0;
  expect(due).toBeGreaterThanOrEqual(1_000_000 + 1_800_000);
  expect(due).toBeLessThan(1_000_000 + 1_980_000);
  expect(heartbeatAt(beat, spec, facts)).toBe(due);
  const dues = ["a", "b", "c", "d"].map((uid) => heartbeatAt(beat, spec, { ...facts, uid }));
  expect(new Set(dues).size).toBeGreaterThan(1);
});

test("one that is asked for comes at once, also where there are none by themselves", () => {
  const requested = { ...beat, requested: true };
  expect(heartbeatAt(requested, { intervalSeconds: 0 }, facts)).toBe(0);
  expect(heartbeatAt(beat, { intervalSeconds: 0 }, facts)).toBeNull();
  expect(heartbeatAt(beat, undefined, facts)).toBeNull();
});

test("a cold session without tasks is not woken; with tasks, or when nobody knows, it is", () => {
  const cold = { ...facts, isUp: false };
  expect(heartbeatAt({ ...beat, hasTasks: false }, spec, cold)).toBeNull();
  expect(heartbeatAt({ ...beat, hasTasks: true }, spec, cold)).not.toBeNull();
  expect(heartbeatAt(beat, spec, cold)).not.toBeNull();
  expect(heartbeatAt({ ...beat, hasTasks: false }, spec, facts)).not.toBeNull();
});

test("failures make the pauses longer, up to a day", () => {
  const lastAt = 2_000_000;
  const wait = (failures: number) =>
    (heartbeatAt({ ...beat, lastAt, failures }, spec, facts) ?? 0) - lastAt;
  expect(wait(2)).toBeGreaterThan(wait(1));
  expect(wait(50)).toBeLessThanOrEqual(24 * 3_600_000 + 180_000);
  expect(
    heartbeatAt({ ...beat, lastAt, failures: 3, requested: true }, spec, facts),
  ).toBeGreaterThan(lastAt);
});

test.each([
  ["within", "2026-06-01T12:00:00Z", "2026-06-01T12:00:00Z"],
  ["before", "2026-06-01T03:00:00Z", "2026-06-01T05:00:00Z"],
  ["after", "2026-06-01T20:30:30Z", "2026-06-02T05:00:00Z"],
  ["over the night in which clocks go back", "2026-10-24T21:00:00Z", "2026-10-25T06:00:00Z"],
  ["over the night in which clocks go forward", "2026-03-28T21:00:00Z", "2026-03-29T05:00:00Z"],
])("active hours, %s", (_, now, due) => {
  const hours = {
    intervalSeconds: 60,
    activeHours: { start: "08:00", end: "22:00" },
    timeZone: "Europe/Helsinki",
  };
  expect(new Date(activeFrom(at(now), hours)).toISOString()).toBe(new Date(at(due)).toISOString());
});

test("whatever the hours and the zone, the time found is within them and never earlier than asked", () => {
  const hour = fc
    .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
    .map((pair) => pair.map((n) => String(n).padStart(2, "0")).join(":"));
  const zone = fc.constantFrom(
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
  );
  fc.assert(
    fc.property(
      hour,
      hour,
      zone,
      fc.integer({ min: at("2026-01-01"), max: at("2027-12-31") }),
      (start, end, timeZone, now) => {
        const due = activeFrom(now, { intervalSeconds: 60, activeHours: { start, end }, timeZone });
        expect(due).toBeGreaterThanOrEqual(now - 60_000);
        expect(due - now).toBeLessThan(50 * 3_600_000);
      },
    ),
  );
});

test.each([
  ["", false],
  ["# Title\n\n- \n- [ ]\n* [x]\n<!-- nothing -->\n##\n", false],
  ["# Title\n- look at the mail", true],
  ["<!--\nmany\nlines\n-->", true],
])("HEARTBEAT.md %j asks for something: %s", (text, expected) => {
  expect(hasTasks(text)).toBe(expected);
});

test("a skipped one counts as one, and nothing is written twice", () => {
  const document = emptyDocument("s");
  const asked = requestHeartbeat(document);
  expect(requestHeartbeat(asked)).toBe(asked);
  expect(skipHeartbeat(asked, 5).heartbeat).toMatchObject({ lastAt: 5, requested: false });
  const known = knowTasks(document, false);
  expect(knowTasks(known, false)).toBe(known);
});
