import { expect, test } from "vitest";
import { openSchedule, type Schedule } from "#controller/cron/schedule.ts";
import { zoneOf } from "#controller/cron/zone.ts";
import { randomSource } from "../../bench/relay/random-lines.ts";
import { OracleZone, oraclePattern, oracleSlots } from "../../support/calendar-oracle.ts";
import { proofSize } from "../../support/proof.ts";
import { proofSeed } from "../../support/seed.ts";

const HOUR_MS = 3_600_000;
const at = (text: string) => Date.parse(text);

function schedule(expression: string, timeZone = "UTC"): Schedule {
  const opened = openSchedule(expression, timeZone);
  if (opened.problem) throw new Error(opened.problem.message);
  return opened.schedule;
}

/** Slots after `fromMs` up to `untilMs`, one by one. */
function slots(given: Schedule, fromMs: number, untilMs: number): number[] {
  const found: number[] = [];
  for (let next = given.nextMs(fromMs); next !== undefined && next <= untilMs; ) {
    found.push(next);
    next = given.nextMs(next);
  }
  return found;
}

const written = (list: number[]) =>
  list.map((slot) => new Date(slot).toISOString().replace(":00.000Z", "Z"));

test("a time that is skipped as clocks go forward is one slot, at the first moment after the gap", () => {
  const day = [at("2026-03-28T22:00Z"), at("2026-03-29T21:59Z")] as const;
  const helsinki = (expression: string) =>
    written(slots(schedule(expression, "Europe/Helsinki"), ...day));
  // 03:00 becomes 04:00 at 01:00 UTC.
  expect(helsinki("30 3 * * *")).toEqual(["2026-03-29T01:00Z"]);
  expect(helsinki("*/20 3 * * *")).toEqual(["2026-03-29T01:00Z"]);
  expect(helsinki("0 2-5 * * *")).toEqual([
    "2026-03-29T00:00Z",
    "2026-03-29T01:00Z",
    "2026-03-29T02:00Z",
  ]);
});

test("a time that comes twice as clocks go back is one slot, at its first occurrence", () => {
  const day = [at("2026-10-24T21:00Z"), at("2026-10-25T22:00Z")] as const;
  const helsinki = (expression: string) =>
    written(slots(schedule(expression, "Europe/Helsinki"), ...day));
  // 04:00 becomes 03:00 at 01:00 UTC.
  expect(helsinki("30 3 * * *")).toEqual(["2026-10-25T00:30Z"]);
  expect(helsinki("0 2-5 * * *")).toEqual([
    "2026-10-24T23:00Z",
    "2026-10-25T00:00Z",
    "2026-10-25T02:00Z",
    "2026-10-25T03:00Z",
  ]);
});

test("the latest slot and the number of slots need no list of them", () => {
  const everySecond = schedule("* * * * * *", "America/New_York");
  const year = [at("2026-01-01T00:00Z"), at("2027-01-01T00:00Z")] as const;
  // The hour that comes twice counts once, and what falls into the gap comes together at its end.
  expect(everySecond.count(...year)).toBe(365 * 86_400 - 3600);
  expect(everySecond.latestMs(at("2026-11-01T06:30Z"))).toBe(at("2026-11-01T05:59:59Z"));
  const leapDay = schedule("0 12 29 2 *", "Asia/Tokyo");
  expect(leapDay.count(at("2021-01-01T00:00Z"), at("2041-01-01T00:00Z"))).toBe(5);
  expect(leapDay.latestMs(at("2031-01-01T00:00Z"))).toBe(at("2028-02-29T03:00Z"));
});

test("what cannot be read says which field and what to do; what never comes has no slot", () => {
  expect(openSchedule("* * * * *", "Europe/Nowhere").problem).toEqual({
    reason: "UnknownTimeZone",
    message:
      "spec.timeZone: Europe/Nowhere is not known here: give an IANA name, for example Europe/Helsinki",
  });
  for (const wrong of ["61 * * * *", "* * * *", "* * * * * * *", "@reboot", "every day"]) {
    expect(openSchedule(wrong, "UTC").problem?.reason, wrong).toBe("BadSchedule");
  }
  expect(schedule("0 0 30 2 *").nextMs(at("2026-01-01T00:00Z"))).toBeUndefined();
  expect(schedule("@daily").nextMs(at("2026-01-01T00:00Z"))).toBe(at("2026-01-02T00:00Z"));
});

test("zones that are used least are forgotten, not wrong", () => {
  const names = Intl.supportedValuesOf("timeZone").slice(0, 100);
  const first = names.map((name) => zoneOf(name).offsetMs(at("2026-07-01T00:00Z")));
  expect(names.map((name) => zoneOf(name).offsetMs(at("2026-07-01T00:00Z")))).toEqual(first);
});

/** Dense ones are compared for a few hours around a transition, the others for days. */
const DENSE = ["* * * * *", "*/7 * * * *", "*/20 15,45 0-4 * * *", "10-50/10 0-3 * * *"];
const SPARSE = [
  "30 2 * * *",
  "0 0 * * *",
  "15 0,1,2,3,23 * * *",
  "0 */2 * * *",
  "59 59 23,0,1,2 * * *",
  "45 1-3 * * SUN",
  "0 3 1,31 * MON",
  "30 0-4 */2 jan-dec */3",
];
const FROM_MINUTE = Date.UTC(2020, 0, 1) / 60_000;
const UNTIL_MINUTE = Date.UTC(2041, 0, 1) / 60_000;

test("every transition of a zone from 2020 to 2040 agrees with the calendar oracle", () => {
  const all = Intl.supportedValuesOf("timeZone");
  const size = proofSize(8, all.length);
  const random = randomSource(proofSeed());
  const chosen = all.toSorted(() => random() - 0.5).slice(0, size);
  const seen = { transitions: 0, slots: 0 };
  for (const name of chosen) {
    const zone = new OracleZone(name);
    for (const minute of zone.transitions(FROM_MINUTE, UNTIL_MINUTE)) {
      seen.transitions += 1;
      seen.slots += compare(zone, { name, atMs: minute * 60_000, random });
    }
  }
  console.info(`${size} zones, ${seen.transitions} transitions, ${seen.slots} slots: 0 exceptions`);
}, 3_600_000);

function compare(
  zone: OracleZone,
  { name, atMs, random }: { name: string; atMs: number; random: () => number },
): number {
  let compared = 0;
  for (const [patterns, hours] of [
    [DENSE, 3.3],
    [SPARSE, 50],
  ] as const) {
    const window = { fromMs: atMs - hours * HOUR_MS, untilMs: atMs + hours * HOUR_MS };
    const wanted = oracleSlots(zone, patterns.map(oraclePattern), window);
    patterns.forEach((expression, index) => {
      const where = `${expression} in ${name} around ${new Date(atMs).toISOString()}`;
      agrees(schedule(expression, name), wanted[index] ?? [], { window, where, random });
      compared += wanted[index]?.length ?? 0;
    });
  }
  return compared;
}

function agrees(
  given: Schedule,
  wanted: number[],
  {
    window: { fromMs, untilMs },
    where,
    random,
  }: { window: { fromMs: number; untilMs: number }; where: string; random: () => number },
): void {
  expect(written(slots(given, fromMs, untilMs)), where).toEqual(written(wanted));
  expect(given.count(fromMs, untilMs), where).toBe(wanted.length);
  for (let probe = 0; probe < 4 && wanted.length > 0; probe += 1) {
    const index = Math.floor(random() * wanted.length);
    const slot = wanted[index] ?? 0;
    const nextMs = wanted[index + 1] ?? untilMs + 1;
    const betweenMs = slot + Math.floor(random() * (nextMs - slot));
    expect(given.latestMs(betweenMs), where).toBe(slot);
    expect(given.count(betweenMs, untilMs), where).toBe(wanted.length - index - 1);
  }
}
