import { Cron } from "croner";
import { errorMessage } from "#lib/errors.ts";
import { type Zone, zoneOf } from "./zone.ts";

const SECOND_MS = 1000;
const DAY_MS = 86_400_000;
/** Days with slots that are counted one by one; ten years of a daily schedule. */
const MAX_COUNTED_DAYS = 3700;

/** Why a schedule cannot be used; the reason of its condition. */
export interface ScheduleProblem {
  reason: "UnknownTimeZone" | "BadSchedule";
  message: string;
}

export type Opened =
  | { schedule: Schedule; problem?: undefined }
  | { schedule?: undefined; problem: ScheduleProblem };

/**
 * Reads a cron expression for a zone. What it gives is dear in memory (80 KiB): it is used for one decision and dropped, and
 * the moments are kept.
 */
export function openSchedule(expression: string, timeZone: string): Opened {
  let zone: Zone;
  try {
    zone = zoneOf(timeZone);
  } catch {
    const words = `spec.timeZone: ${timeZone} is not known here: give an IANA name, for example Europe/Helsinki`;
    return { problem: { reason: "UnknownTimeZone", message: words } };
  }
  try {
    // Without an offset of its own: the pattern is matched against the wall clock, the zone says when that is.
    const pattern = new Cron(expression, { mode: "5-or-6-parts", utcOffset: 0 });
    return { schedule: new Schedule(pattern, zone) };
  } catch (error) {
    const words = `spec.schedule: ${JSON.stringify(expression)} cannot be read (${errorMessage(error)})`;
    return { problem: { reason: "BadSchedule", message: words.slice(0, 1024) } };
  }
}

/**
 * The slots of a cron expression in a zone, as moments in milliseconds. Every time that matches is one slot: the first moment
 * at which the wall clock shows it or a later one, so a time that is skipped or comes twice is one slot all the same.
 */
export class Schedule {
  readonly #pattern: Cron;
  readonly #zone: Zone;

  constructor(pattern: Cron, zone: Zone) {
    this.#pattern = pattern;
    this.#zone = zone;
  }

  /** The first slot after this moment; undefined = there is none any more. */
  nextMs(afterMs: number): number | undefined {
    const wallMs = this.#nextWallMs(this.#zone.latestWallMs(afterMs));
    return wallMs === undefined ? undefined : this.#zone.momentMs(wallMs);
  }

  /** The last slot up to this moment. */
  latestMs(untilMs: number): number | undefined {
    const shownMs = this.#zone.latestWallMs(untilMs);
    const aboveMs = Math.floor(shownMs / SECOND_MS) * SECOND_MS + SECOND_MS;
    const [found] = this.#pattern.previousRuns(1, new Date(aboveMs));
    return found ? this.#zone.momentMs(found.getTime()) : undefined;
  }

  /** How many slots lie after `afterMs` up to `untilMs`, without making a list of them. */
  count(afterMs: number, untilMs: number): number {
    const zone = this.#zone;
    const all = this.#countWall(zone.latestWallMs(afterMs), zone.latestWallMs(untilMs));
    const together = zone
      .gaps(afterMs, untilMs)
      .map(({ fromWallMs, toWallMs }) => this.#countWall(fromWallMs - SECOND_MS, toWallMs));
    return together.reduce((sum, inGap) => sum - Math.max(0, inGap - 1), all);
  }

  #nextWallMs(wallMs: number): number | undefined {
    return this.#pattern.nextRun(new Date(wallMs))?.getTime();
  }

  /** Wall times that match, above `aboveMs` up to `untilMs`. */
  #countWall(aboveMs: number, untilMs: number): number {
    let wallMs = this.#nextWallMs(aboveMs);
    if (wallMs === undefined || wallMs > untilMs) return 0;
    const times = this.#timesOfDay(wallMs);
    let sum = 0;
    for (let days = 0; wallMs !== undefined && wallMs <= untilMs; days += 1) {
      if (days === MAX_COUNTED_DAYS) break;
      const midnightMs = Math.floor(wallMs / DAY_MS) * DAY_MS;
      sum += upTo(times, untilMs - midnightMs) - upTo(times, aboveMs - midnightMs);
      wallMs = this.#nextWallMs(midnightMs + DAY_MS - SECOND_MS);
    }
    return sum;
  }

  /** Hours, minutes and seconds that match, the same on every day that matches; `knownMs` is a time that does. */
  #timesOfDay(knownMs: number): TimesOfDay {
    const matching = (unitMs: number, count: number) => {
      const firstMs = knownMs - (Math.floor(knownMs / unitMs) % count) * unitMs;
      return Array.from({ length: count }, (_, value) => value).filter((value) =>
        this.#pattern.match(new Date(firstMs + value * unitMs)),
      );
    };
    return {
      hours: matching(3_600_000, 24),
      minutes: matching(60_000, 60),
      seconds: matching(SECOND_MS, 60),
    };
  }
}

interface TimesOfDay {
  hours: number[];
  minutes: number[];
  seconds: number[];
}

/** How many of the times lie at or before this time of the day; none where it is negative. */
function upTo({ hours, minutes, seconds }: TimesOfDay, timeMs: number): number {
  if (timeMs < 0) return 0;
  if (timeMs >= DAY_MS) return hours.length * minutes.length * seconds.length;
  const second = Math.floor(timeMs / SECOND_MS);
  const [hour, minute] = [Math.floor(second / 3600), Math.floor(second / 60) % 60];
  const below = (values: number[], value: number) => values.filter((each) => each < value).length;
  const inMinute = minutes.includes(minute) ? below(seconds, (second % 60) + 1) : 0;
  const inHour = hours.includes(hour) ? below(minutes, minute) * seconds.length + inMinute : 0;
  return below(hours, hour) * minutes.length * seconds.length + inHour;
}
