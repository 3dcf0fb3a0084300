import { ArgusError } from "#lib/errors.ts";
import { remember } from "#lib/remember.ts";

/** Formatters are dear (50 KiB, 0.4 ms) and zones are few. */
const MAX_ZONES = 64;
/** Two around a change, two around another. */
const SPANS = 4;
const SECOND_MS = 1000;
const DAY_MS = 86_400_000;
/** Clocks on earth lie between 12 h behind UTC and 14 h before it; some room for what parliaments may decide. */
const MAX_OFFSET_MS = 16 * 3_600_000;

/** Moment at which a zone's clocks are put forward: the wall times above `fromWallMs` up to `toWallMs` fall on it together. */
export interface Gap {
  atMs: number;
  fromWallMs: number;
  toWallMs: number;
}

const zones = new Map<string, Zone>();

/** The zone of this IANA name. Throws InvalidInput where there is none; those used last are remembered. */
export function zoneOf(name: string): Zone {
  const zone = zones.get(name) ?? new Zone(name);
  remember(zones, name, zone, MAX_ZONES);
  return zone;
}

/**
 * The wall clock of one time zone. A wall time is written as the milliseconds that it would be in UTC.
 * Rests on this: no zone changes its offset twice within two days, nor other than at a whole second.
 */
export class Zone {
  readonly #format: Intl.DateTimeFormat;
  /** Times without a change, as far as they are known: what is asked lies close together. */
  #steady: { fromMs: number; untilMs: number; offsetMs: number }[] = [];
  /** The change that was looked for last: all who are near it look for the same. */
  #lastChange = { atMs: 0, formerMs: 0, wantedMs: 0 };

  constructor(name: string) {
    try {
      this.#format = new Intl.DateTimeFormat("en-US", {
        timeZone: name,
        hourCycle: "h23",
        year: "numeric",
        month: "numeric",
        day: "numeric",
        hour: "numeric",
        minute: "numeric",
        second: "numeric",
      });
    } catch {
      throw new ArgusError("InvalidInput", `there is no time zone ${name}`);
    }
  }

  /** What the wall clock shows before UTC. */
  offsetMs(atMs: number): number {
    const known = this.#steady.find(({ fromMs, untilMs }) => fromMs <= atMs && atMs <= untilMs);
    if (known) return known.offsetMs;
    const offsetMs = this.#readOffsetMs(atMs);
    // Two moments within a day of each other with the same offset have no change between them.
    const near = this.#steady.find(
      (span) =>
        span.offsetMs === offsetMs && span.fromMs - DAY_MS <= atMs && atMs <= span.untilMs + DAY_MS,
    );
    if (near) {
      near.fromMs = Math.min(near.fromMs, atMs);
      near.untilMs = Math.max(near.untilMs, atMs);
      return offsetMs;
    }
    this.#steady = [{ fromMs: atMs, untilMs: atMs, offsetMs }, ...this.#steady.slice(0, SPANS - 1)];
    return offsetMs;
  }

  #readOffsetMs(atMs: number): number {
    const wholeMs = Math.floor(atMs / SECOND_MS) * SECOND_MS;
    const numbers = this.#format.format(wholeMs).match(/\d+/g)?.map(Number) ?? [];
    const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = numbers;
    return Date.UTC(year, month - 1, day, hour, minute, second) - wholeMs;
  }

  /** The latest time that the wall clock has shown up to this moment: clocks that are put back do not lower it. */
  latestWallMs(atMs: number): number {
    const offsetMs = this.offsetMs(atMs);
    const formerMs = this.offsetMs(atMs - DAY_MS);
    if (formerMs <= offsetMs) return atMs + offsetMs;
    const changeMs = this.#changeMs(atMs - DAY_MS, atMs);
    return Math.max(atMs + offsetMs, changeMs - SECOND_MS + formerMs);
  }

  /**
   * The first moment at which the wall clock shows this time or a later one. So a time that is skipped as clocks are put
   * forward falls on the first moment after it, and one that comes twice on its first occurrence.
   */
  momentMs(wallMs: number): number {
    const fromMs = wallMs - MAX_OFFSET_MS;
    const untilMs = wallMs + MAX_OFFSET_MS;
    const before = this.offsetMs(fromMs);
    const after = this.offsetMs(untilMs);
    if (before === after) return wallMs - before;
    const changeMs = this.#changeMs(fromMs, untilMs);
    const earlyMs = wallMs - before;
    return earlyMs < changeMs ? earlyMs : Math.max(changeMs, wallMs - after);
  }

  /** The gaps after `fromMs` up to `untilMs`. */
  gaps(fromMs: number, untilMs: number): Gap[] {
    const found: Gap[] = [];
    let before = this.offsetMs(fromMs);
    for (let startMs = fromMs; startMs < untilMs; startMs += DAY_MS) {
      const endMs = Math.min(startMs + DAY_MS, untilMs);
      const after = this.offsetMs(endMs);
      if (after > before) {
        const atMs = this.#changeMs(startMs, endMs);
        found.push({ atMs, fromWallMs: atMs + before, toWallMs: atMs + after });
      }
      before = after;
    }
    return found;
  }

  /** The first second with the offset that holds at `untilMs`, where another one holds at `fromMs`. */
  #changeMs(fromMs: number, untilMs: number): number {
    const last = this.#lastChange;
    const [formerMs, wantedMs] = [this.offsetMs(fromMs), this.offsetMs(untilMs)];
    const isSame = last.formerMs === formerMs && last.wantedMs === wantedMs;
    if (isSame && fromMs < last.atMs && last.atMs <= untilMs) return last.atMs;
    let low = Math.floor(fromMs / SECOND_MS);
    let high = Math.floor(untilMs / SECOND_MS);
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.offsetMs(middle * SECOND_MS) === wantedMs) high = middle;
      else low = middle;
    }
    this.#lastChange = { atMs: high * SECOND_MS, formerMs, wantedMs };
    return high * SECOND_MS;
  }
}
