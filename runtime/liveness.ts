import type { Caller } from "./caller.ts";
import { RpcFailure } from "./rpc.ts";

/** The app-server is asked at most this often. */
const EVERY_MS = 10_000;
const TIMEOUT_MS = 5_000;
/** Questions in a row without an answer after which it counts as hung. */
const HUNG_AFTER = 6;

/** Whether the app-server still answers, found out by a cheap request when somebody wants to know. */
export class Liveness {
  readonly #caller: Caller;
  readonly #onHung: () => void;
  readonly #everyMs: number;
  #askedAt = 0;
  #unanswered = 0;

  /** `everyMs` bounds an answer's wait too where it is shorter than 5 s. */
  constructor(caller: Caller, onHung: () => void, everyMs = EVERY_MS) {
    this.#caller = caller;
    this.#onHung = onHung;
    this.#everyMs = everyMs;
  }

  /** A fresh process: nothing is known against it. */
  reset(now: number): void {
    this.#askedAt = now;
    this.#unanswered = 0;
  }

  /** What the last question told; asks again when that is too long ago. */
  answers(now: number): boolean {
    if (now - this.#askedAt >= this.#everyMs) {
      this.#askedAt = now;
      this.#ask().catch(() => undefined);
    }
    return this.#unanswered === 0;
  }

  async #ask(): Promise<void> {
    const timeoutMs = Math.min(TIMEOUT_MS, this.#everyMs);
    try {
      await this.#caller.call("thread/loaded/list", { limit: 1 }, { timeoutMs });
    } catch (error) {
      // Any answer is an answer, also that it knows no such method.
      if (isSilence(error)) return this.#silent();
    }
    this.#unanswered = 0;
  }

  #silent(): void {
    this.#unanswered += 1;
    if (this.#unanswered >= HUNG_AFTER) this.#onHung();
  }
}

function isSilence(error: unknown): boolean {
  if (!(error instanceof RpcFailure)) return true;
  const { data } = error.error;
  return typeof data === "object" && data !== null && "reason" in data && data.reason === "timeout";
}
