import { errorMessage } from "#lib/errors.ts";
import type { Running } from "#lib/running.ts";

interface Part {
  name: string;
  stop: AbortController;
  closed: Promise<void>;
}

/** A part that does not end in this time is left to the next start, which ends what is on record. */
const PART_MS = 40_000;

/** Parts in the order of their start; they are stopped the other way round, one after the other. */
export class Shutdown {
  readonly #parts: Part[] = [];
  readonly #asked: AbortSignal;
  readonly #stopping = new AbortController();

  /** `asked`: the person wants to stop; a part that still starts is stopped at once. */
  constructor(asked: AbortSignal) {
    this.#asked = asked;
  }

  /** Aborts when somebody wants to stop or the stop has begun: whoever waits for a part gives up. */
  get stopping(): AbortSignal {
    return AbortSignal.any([this.#asked, this.#stopping.signal]);
  }

  async start<T extends Running>(
    name: string,
    start: (signal: AbortSignal) => T | Promise<T>,
  ): Promise<T> {
    this.#asked.throwIfAborted();
    const stop = new AbortController();
    const abort = () => stop.abort(this.#asked.reason);
    this.#asked.addEventListener("abort", abort, { once: true });
    try {
      const running = await start(stop.signal);
      this.#parts.push({ name, stop, closed: running.closed });
      return running;
    } finally {
      this.#asked.removeEventListener("abort", abort);
    }
  }

  /** Resolves when every part has ended or ran out of time; says which did not end well. */
  async stop(say: (line: string) => void): Promise<void> {
    this.#stopping.abort();
    for (const { name, stop, closed } of this.#parts.reverse()) {
      stop.abort();
      const problem = await within(PART_MS, closed);
      say(problem ? `${name}: ${problem}` : `${name} stopped`);
    }
  }

  /** Rejects when a part dies by itself. */
  async firstDeath(): Promise<never> {
    const name = await Promise.race(
      this.#parts.map(async (part) => {
        await part.closed;
        return part.name;
      }),
    );
    throw new Error(`${name} ended by itself`);
  }
}

/** What went wrong, undefined when nothing did. */
async function within(ms: number, closed: Promise<void>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`did not stop within ${ms / 1000} s`), ms);
  });
  const ended = closed.then(
    () => undefined,
    (error: unknown) => errorMessage(error),
  );
  const problem = await Promise.race([ended, late]);
  clearTimeout(timer);
  return problem;
}
