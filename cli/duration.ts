import { ArgusError } from "#lib/errors.ts";

const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `15m`, `24h`, `7d` in ms. Throws `InvalidInput`. */
export function durationMs(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (UNITS[unit] ?? 0);
  if (ms > 0) return ms;
  throw new ArgusError("InvalidInput", `${text}: give a duration such as 90s, 15m, 24h or 7d`);
}

/** The words of a command line with an option's value where it stands alone: what follows `--queue` is no value of it. */
export function withDefault(words: readonly string[], option: string, value: string): string[] {
  const end = words.indexOf("--");
  return words.map((word, index) =>
    word === option && (end < 0 || index < end) ? `${option}=${value}` : word,
  );
}
