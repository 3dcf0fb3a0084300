import { expect, test } from "vitest";
import { randomSource } from "../../bench/relay/random-lines.ts";
import { OracleZone, oraclePattern, oracleSlots } from "../../support/calendar-oracle.ts";
import { CronSim, type SimCounts } from "../../support/cron-sim.ts";
import { proofSize } from "../../support/proof.ts";
import { proofSeed } from "../../support/seed.ts";

const DAY_MS = 86_400_000;
const FROM_MINUTE = Date.UTC(2020, 0, 1) / 60_000;
const UNTIL_MINUTE = Date.UTC(2040, 0, 1) / 60_000;

/** Forty zones: with and without summer time, of both hemispheres, half hours, two-hour jumps, zones that changed their minds. */
const ZONES =
  `UTC Europe/Helsinki Europe/London Europe/Dublin Europe/Lisbon Europe/Moscow Europe/Volgograd Europe/Istanbul
  America/New_York America/Chicago America/Denver America/Phoenix America/Los_Angeles America/Anchorage America/St_Johns
  America/Sao_Paulo America/Asuncion America/Santiago America/Havana America/Mexico_City America/Nuuk America/Scoresbysund
  America/Caracas Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Juba Africa/Johannesburg Antarctica/Troll
  Antarctica/Casey Asia/Gaza Asia/Jerusalem Asia/Tehran Asia/Kathmandu Asia/Almaty Asia/Tokyo Australia/Lord_Howe
  Australia/Adelaide Pacific/Chatham Pacific/Apia`.split(/\s+/);

const SCHEDULES = [
  "*/5 * * * *",
  "* * * * *",
  "*/7 * * * *",
  "3-59/4 * * * *",
  "*/10 0-5,9-23 * * *",
  "0,20,40 * * * * *",
  "30 */5 * * * *",
  "*/15 * * * MON-FRI",
  "0 * * * *",
  "*/2 1-4 * * *",
  "15,45 */3 1-20 * SUN",
];
/** Slots of one life of a schedule. */
const LIFE_SLOTS = 2500;
const MAX_LIFE_MS = 400 * DAY_MS;

test("each slot is posted once, or skipped and counted, whatever crashes, jumps, answers late or is lost", async () => {
  const size = proofSize(10_000, 1_000_000);
  const random = randomSource(proofSeed());
  const total: Partial<SimCounts> = {};
  const perZone = Math.ceil(size / ZONES.length);
  for (const timeZone of ZONES) {
    for (let slots = 0; slots < perZone; ) {
      const wanted = Math.min(LIFE_SLOTS, perZone - slots);
      const counts = await new CronSim(life(timeZone, wanted, random)).run();
      slots += counts.slots;
      for (const [name, count] of Object.entries(counts)) {
        const key = name as keyof SimCounts;
        total[key] = (total[key] ?? 0) + count;
      }
    }
  }
  console.info(`${ZONES.length} zones, ${JSON.stringify(total)}`);
  expect(total.slots).toBeGreaterThanOrEqual(size * 0.9);
  expect(total.posted).toBeGreaterThan(size / 3);
  expect(total.crashes).toBeGreaterThan(size / 200);
}, 3_600_000);

/** A schedule that lives around a transition of its zone, if it has one, for about so many slots. */
function life(timeZone: string, wanted: number, random: () => number) {
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  const schedules = [pick(SCHEDULES) ?? "", pick(SCHEDULES) ?? "", pick(SCHEDULES) ?? ""];
  const middle =
    pick(transitionsOf(timeZone)) ??
    FROM_MINUTE + Math.floor(random() * (UNTIL_MINUTE - FROM_MINUTE));
  const zone = new OracleZone(timeZone);
  const pattern = oraclePattern(schedules[0] ?? "");
  let lengthMs = DAY_MS / 4;
  const window = () => ({
    fromMs: middle * 60_000 - lengthMs / 2,
    untilMs: middle * 60_000 + lengthMs / 2,
  });
  while (
    lengthMs < MAX_LIFE_MS &&
    (oracleSlots(zone, [pattern], window())[0]?.length ?? 0) < wanted
  ) {
    lengthMs *= 1.5;
  }
  return { random, timeZone, schedules, ...window() };
}

const transitions = new Map<string, number[]>();

function transitionsOf(timeZone: string): number[] {
  const known =
    transitions.get(timeZone) ?? new OracleZone(timeZone).transitions(FROM_MINUTE, UNTIL_MINUTE);
  transitions.set(timeZone, known);
  return known;
}
