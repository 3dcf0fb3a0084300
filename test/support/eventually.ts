import { setTimeout as delay } from "node:timers/promises";

/** Polls `probe` until it gives a value; for facts that send no event, such as a process that ended. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`not within ${timeoutMs} ms: ${what}`, last ? { cause: last } : undefined);
    }
    await delay(50);
  }
}
