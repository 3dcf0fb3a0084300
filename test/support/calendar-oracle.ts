/**
 * What slots a cron expression has in a zone, found the slow way: minute by minute along the real time line, reading the wall
 * clock off `Intl`. Shares no code and no method with what it judges.
 */
export interface OraclePattern {
  seconds: number[];
  matchesMinute(wallMinute: number): boolean;
}

const MINUTE_MS = 60_000;
const QUARTER = 15;
const MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
const WEEKDAYS = "sun mon tue wed thu fri sat".split(" ");

/** Wall clock of a zone, in whole minutes, with the answers of `Intl` kept per quarter of an hour. */
export class OracleZone {
  readonly #format: Intl.DateTimeFormat;
  readonly #quarters = new Map<number, number>();

  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  }

  /** Minutes before UTC at this minute since the epoch. */
  offset(minute: number): number {
    const start = minute - (minute % QUARTER);
    const offset = this.#ask(start);
    return offset === this.#ask(start + QUARTER) ? offset : this.#read(minute);
  }

  wall(minute: number): number {
    return minute + this.offset(minute);
  }

  /** Minutes from `from` to `until` at which the offset becomes another one. */
  transitions(from: number, until: number): number[] {
    const found: number[] = [];
    const step = 24 * 60;
    for (let minute = from; minute < until; minute += step) {
      if (this.#read(minute) === this.#read(minute + step)) continue;
      for (let at = minute + 1; at <= minute + step; at += 1) {
        if (this.offset(at) !== this.offset(at - 1)) found.push(at);
      }
    }
    return found;
  }

  #ask(minute: number): number {
    const known = this.#quarters.get(minute);
    if (known !== undefined) return known;
    const offset = this.#read(minute);
    if (this.#quarters.size > 50_000) this.#quarters.clear();
    this.#quarters.set(minute, offset);
    return offset;
  }

  #read(minute: number): number {
    const text = this.#format.format(minute * MINUTE_MS);
    const [, sign, hours, minutes = "0"] = /GMT(?:([+-])(\d\d):(\d\d))?$/.exec(text) ?? [];
    if (!sign) return 0;
    return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
  }
}

/** Reads the common language of cron: star, numbers, names, ranges, steps, lists; day of month OR day of week when both are set. */
export function oraclePattern(expression: string): OraclePattern {
  const fields = expression.trim().split(/\s+/);
  const [second = "0", ...rest] = fields.length === 6 ? fields : ["0", ...fields];
  const [minute = "*", hour = "*", day = "*", month = "*", weekday = "*"] = rest;
  const minutes = numbers(minute, 0, 59);
  const hours = numbers(hour, 0, 23);
  const days = numbers(day, 1, 31);
  const months = numbers(month, 1, 12, MONTHS);
  const weekdays = new Set([...numbers(weekday, 0, 7, WEEKDAYS)].map((each) => each % 7));
  const matchesDay = (date: Date) => {
    if (!months.has(date.getUTCMonth() + 1)) return false;
    const byDay = days.has(date.getUTCDate());
    const byWeekday = weekdays.has(date.getUTCDay());
    if (day === "*" || weekday === "*") return byDay && byWeekday;
    return byDay || byWeekday;
  };
  let known = { day: Number.NaN, matches: false };
  return {
    seconds: [...numbers(second, 0, 59)].sort((a, b) => a - b),
    matchesMinute(wallMinute) {
      if (!minutes.has(wallMinute % 60) || !hours.has(Math.floor(wallMinute / 60) % 24))
        return false;
      const at = Math.floor(wallMinute / 1440);
      if (at !== known.day) known = { day: at, matches: matchesDay(new Date(at * 86_400_000)) };
      return known.matches;
    },
  };
}

function numbers(field: string, least: number, most: number, names: string[] = []): Set<number> {
  const numberOf = (text: string) => {
    const index = names.indexOf(text.toLowerCase());
    return index >= 0 ? index + least : Number(text);
  };
  const all = field.split(",").flatMap((part) => {
    const [range = "*", step = "1"] = part.split("/");
    const [from, to = from] = range === "*" ? [least, most] : range.split("-").map(numberOf);
    const values: number[] = [];
    for (let value = from ?? least; value <= (to ?? most); value += Number(step))
      values.push(value);
    return values;
  });
  return new Set(all);
}

/**
 * The slots of each pattern after `fromMs` up to `untilMs`, in milliseconds. Clocks that are put forward: once, at the first
 * minute after the gap, for whatever was due in it. Clocks that are put back: once, at the first occurrence.
 */
export function oracleSlots(
  zone: OracleZone,
  patterns: OraclePattern[],
  { fromMs, untilMs }: { fromMs: number; untilMs: number },
): number[][] {
  const slots: number[][] = patterns.map(() => []);
  const first = Math.floor(fromMs / MINUTE_MS);
  const last = Math.floor(untilMs / MINUTE_MS);
  let shown = 0;
  for (let minute = first - 1500; minute < first; minute += 1) {
    shown = Math.max(shown, zone.wall(minute));
  }
  for (let minute = first; minute <= last; minute += 1) {
    const wall = zone.wall(minute);
    if (wall <= shown) continue;
    patterns.forEach((pattern, index) => {
      const seconds = secondsOf(pattern, shown, wall);
      for (const second of seconds) slots[index]?.push(minute * MINUTE_MS + second * 1000);
    });
    shown = wall;
  }
  return slots.map((list) => list.filter((slot) => slot > fromMs && slot <= untilMs));
}

const NONE: number[] = [];
const AT_ONCE = [0];

/** When a pattern is due in the minute that the wall clock shows now, after the one that it showed before. */
function secondsOf(pattern: OraclePattern, shown: number, wall: number): number[] {
  const due = pattern.matchesMinute(wall) ? pattern.seconds : NONE;
  if (wall === shown + 1) return due;
  for (let skipped = shown + 1; skipped < wall; skipped += 1) {
    if (pattern.matchesMinute(skipped)) return due.includes(0) ? due : [...AT_ONCE, ...due];
  }
  return due;
}
