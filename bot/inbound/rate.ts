import { remember } from "#lib/remember.ts";

/** Messages that one person may send in any minute. */
const PER_MINUTE = 30;
const MINUTE_MS = 60_000;
/** People whose times are remembered. */
const MAX_PEOPLE = 10_000;

/** Who writes too fast is told once, and heard again after a pause. */
export class RateLimit {
  readonly #times = new Map<string, number[]>();
  readonly #told = new Map<string, number>();

  /** `tell` = refused, and not told yet. */
  take(person: string, now = Date.now()): "taken" | "tell" | "refused" {
    const times = (this.#times.get(person) ?? []).filter((at) => at > now - MINUTE_MS);
    if (times.length < PER_MINUTE) {
      remember(this.#times, person, [...times, now], MAX_PEOPLE);
      return "taken";
    }
    if ((this.#told.get(person) ?? 0) > now - MINUTE_MS) return "refused";
    remember(this.#told, person, now, MAX_PEOPLE);
    return "tell";
  }

  /** Whether something was not said to this person lately. */
  once(person: string, pauseMs: number, now = Date.now()): boolean {
    if ((this.#told.get(person) ?? 0) > now - pauseMs) return false;
    remember(this.#told, person, now, MAX_PEOPLE);
    return true;
  }
}
