import fc from "fast-check";
import { expect, test } from "vitest";
import {
  activeFrom,
  hasTasks,
  heartbeatAt,
  isZone,
  knowTasks,
  requestHeartbeat,
  skipHeartbeat,
} from "#gateway/lanes/heartbeat.ts";
import { emptyDocument } from "#protocol/session-document.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const NOON = Date.UTC(2030, 5, 15, 12);
const HALF_HOUR = { intervalSeconds: 1800 };
const facts = { uid: "u1", createdAt: NOON, isUp: true };
const beat = (change: object = {}) => ({ ...emptyDocument("s").heartbeat, ...change });
const hours = (start: string, end: string, timeZone?: string) => ({
  ...HALF_HOUR,
  activeHours: { start, end },
  ...(timeZone ? { timeZone } : {}),
});

test("a heartbeat is due an interval after the last one and up to a tenth later, the same after a restart", () => {
  const at = heartbeatAt(beat({ lastAt: NOON }), HALF_HOUR, facts) ?? 0;
  expect(at).toBeGreaterThanOrEqual(NOON + 30 * MINUTE);
  expect(at).toBeLessThanOrEqual(NOON + 33 * MINUTE);
  expect(heartbeatAt(beat({ lastAt: NOON }), HALF_HOUR, facts)).toBe(at);
  const others = Array.from({ length: 50 }, (_, index) =>
    heartbeatAt(beat({ lastAt: NOON }), HALF_HOUR, { ...facts, uid: `u${index}` }),
  );
  expect(new Set(others).size).toBeGreaterThan(40);
});

test("a new session's first one comes an interval after its making", () => {
  const at = heartbeatAt(beat(), HALF_HOUR, facts) ?? 0;
  expect(at).toBeGreaterThanOrEqual(NOON + 30 * MINUTE);
});

test("none: switched off, or nothing to do and no pod that could be asked", () => {
  expect(heartbeatAt(beat(), { intervalSeconds: 0 }, facts)).toBeNull();
  expect(heartbeatAt(beat(), undefined, facts)).toBeNull();
  const cold = { ...facts, isUp: false };
  expect(heartbeatAt(beat({ hasTasks: false }), HALF_HOUR, cold)).toBeNull();
  expect(heartbeatAt(beat({ hasTasks: false }), HALF_HOUR, facts)).not.toBeNull();
  // What nobody knows counts as due.
  expect(heartbeatAt(beat(), HALF_HOUR, cold)).not.toBeNull();
  expect(heartbeatAt(beat({ hasTasks: true }), HALF_HOUR, cold)).not.toBeNull();
});

test("one that is asked for comes at once, also when heartbeats are off or it is night", () => {
  const asked = beat({ requested: true, lastAt: NOON });
  expect(heartbeatAt(asked, HALF_HOUR, facts)).toBe(0);
  expect(heartbeatAt(asked, undefined, facts)).toBe(0);
  expect(heartbeatAt(asked, hours("01:00", "02:00"), facts)).toBe(0);
});

test("after failures the wait doubles, up to a day, also for one that is asked for", () => {
  const wait = (failures: number, requested = false) =>
    (heartbeatAt(beat({ lastAt: NOON, failures, requested }), HALF_HOUR, facts) ?? 0) - NOON;
  expect(wait(1)).toBeGreaterThanOrEqual(30 * MINUTE);
  expect(wait(3)).toBeGreaterThanOrEqual(2 * HOUR);
  expect(wait(50)).toBeLessThanOrEqual(DAY + 3 * MINUTE);
  expect(wait(2, true)).toBe(HOUR);
});

test("outside the active hours it waits for their next start, over midnight and over a change of clocks", () => {
  const at = (time: string) => Date.parse(time);
  const cases: [string, string, string, string, string][] = [
    ["2030-06-15T07:59:00Z", "08:00", "20:00", "UTC", "2030-06-15T08:00:00Z"],
    ["2030-06-15T08:00:00Z", "08:00", "20:00", "UTC", "2030-06-15T08:00:00Z"],
    ["2030-06-15T20:00:00Z", "08:00", "20:00", "UTC", "2030-06-16T08:00:00Z"],
    ["2030-06-15T23:30:00Z", "22:00", "06:00", "UTC", "2030-06-15T23:30:00Z"],
    ["2030-06-15T05:59:00Z", "22:00", "06:00", "UTC", "2030-06-15T05:59:00Z"],
    ["2030-06-15T06:00:00Z", "22:00", "06:00", "UTC", "2030-06-15T22:00:00Z"],
    ["2030-06-15T04:59:30Z", "08:00", "20:00", "Europe/Helsinki", "2030-06-15T05:00:00Z"],
    // The clocks go back in this night, and forward in that one.
    ["2030-10-26T18:00:00Z", "08:00", "20:00", "Europe/Helsinki", "2030-10-27T06:00:00Z"],
    ["2030-03-30T19:00:00Z", "08:00", "20:00", "Europe/Helsinki", "2030-03-31T05:00:00Z"],
    // Equal ends are the whole day.
    ["2030-06-15T03:00:00Z", "08:00", "08:00", "UTC", "2030-06-15T03:00:00Z"],
  ];
  for (const [now, start, end, zone, expected] of cases) {
    const found = activeFrom(at(now), hours(start, end, zone));
    expect(new Date(found).toISOString(), `${now} ${start}-${end} ${zone}`).toBe(
      new Date(at(expected)).toISOString(),
    );
  }
});

test("whatever the hours, the zone and the time: it comes within the hours, never early, within two days", () => {
  const minute = fc.integer({ min: 0, max: 1439 }).map((n) => {
    const part = (value: number) => String(value).padStart(2, "0");
    return `${part(Math.floor(n / 60))}:${part(n % 60)}`;
  });
  const zone = fc.constantFrom("UTC", "Europe/Helsinki", "America/New_York", "Australia/Lord_Howe");
  const lastAt = fc.integer({ min: Date.UTC(2029, 0, 1), max: Date.UTC(2031, 0, 1) });
  fc.assert(
    fc.property(minute, minute, zone, lastAt, (start, end, timeZone, last) => {
      const spec = hours(start, end, timeZone);
      const due = heartbeatAt(beat({ lastAt: last }), spec, { ...facts, createdAt: 0 }) ?? 0;
      expect(due).toBeGreaterThanOrEqual(last + 30 * MINUTE);
      expect(due).toBeLessThanOrEqual(last + 2 * DAY);
      expect(activeFrom(due, spec)).toBe(due);
    }),
    { numRuns: 2000 },
  );
});

test("sessions that the night held back do not all wake in the same minute", () => {
  const night = Date.UTC(2030, 5, 15, 22);
  const at = Array.from({ length: 100 }, (_, index) =>
    heartbeatAt(beat({ lastAt: night }), hours("08:00", "20:00"), { ...facts, uid: `u${index}` }),
  );
  expect(new Set(at).size).toBeGreaterThan(90);
});

test("a zone that this machine does not know counts as UTC and ends nothing", () => {
  expect(isZone("Mars/Olympus")).toBe(false);
  expect(activeFrom(Date.UTC(2030, 5, 15, 7), hours("08:00", "20:00", "Mars/Olympus"))).toBe(
    Date.UTC(2030, 5, 15, 8),
  );
});

test("a HEARTBEAT.md without a task: headings, empty items, comments of one line, front matter", () => {
  const idle = [
    "",
    "# Title\n\n## Part\n#",
    "- \n* [ ]\n+ [x]\n-",
    "<!-- later -->",
    "---\na: b\n---\n# T",
  ];
  for (const text of idle) expect(hasTasks(text), text).toBe(false);
  const busy = ["check the mail", "# T\n- [ ] water", "<!-- a\nb -->", "#hash", "1. one"];
  for (const text of busy) expect(hasTasks(text), text).toBe(true);
});

test("what is known of the tasks can become unknown again", () => {
  const known = knowTasks(emptyDocument("s"), false);
  expect(known.heartbeat.hasTasks).toBe(false);
  expect(knowTasks(known, false)).toBe(known);
  expect("hasTasks" in knowTasks(known, undefined).heartbeat).toBe(false);
});

test("a skipped one counts as one, and a second request changes nothing", () => {
  const asked = requestHeartbeat(emptyDocument("s"));
  expect(requestHeartbeat(asked)).toBe(asked);
  expect(skipHeartbeat(asked, 5).heartbeat).toMatchObject({ lastAt: 5, requested: false });
});
