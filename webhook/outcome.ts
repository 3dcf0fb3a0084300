import type { PartOutcome } from "#protocol/channel.ts";

/** A pause that a receiver may ask for. */
export const MAX_RETRY_AFTER_MS = 60 * 60 * 1000;

/** What an answer means. `ref`: what a part that was taken is called. Pure. */
export function outcomeOf(
  { status, retryAfter }: { status: number; retryAfter: string | undefined },
  ref: string,
  nowMs: number,
): PartOutcome {
  if (status >= 200 && status < 300) return { state: "sent", ref };
  const reason = `the receiver answered ${status}`;
  if (status === 404 || status === 410) return { state: "refused", reason: `${reason}: gone` };
  const isTemporary = status === 408 || status === 425 || status === 429;
  if (status >= 400 && status < 500 && !isTemporary) return { state: "refused", reason };
  const retryAfterMs = pauseOf(retryAfter, nowMs);
  return { state: "notSent", reason, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** `Retry-After` in seconds or as a date. Pure. */
function pauseOf(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, Math.round(ms)), MAX_RETRY_AFTER_MS);
}
