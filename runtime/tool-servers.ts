import { monotonicMs } from "#lib/clock.ts";
import { remember } from "#lib/remember.ts";
import { sleepOr } from "#lib/sleep-or.ts";

/** A server of which the app-server says nothing for so long after the thread was loaded is none that it starts. */
const FIRST_WORD_MS = 2000;
/** config.toml gives each server 30 s to start; after them the app-server says that it failed. */
const START_MS = 35_000;
const MAX_THREADS = 10_000;

interface Thread {
  /** By name: whether it still starts; else it is ready, failed or cancelled. */
  isStarting: Map<string, boolean>;
  /** Its turns wait no more: all is known, or was waited for. */
  isSettled: boolean;
  changed: PromiseWithResolvers<void>;
}

/**
 * The MCP servers of each loaded thread. Codex gives a turn the tools of those that are ready when it asks the model and says nothing of the
 * others, so a thread's first turn has to wait for them.
 */
export class ToolServers {
  readonly #threads = new Map<string, Thread>();
  #names: readonly string[] = [];

  /** The next process will start these for each thread. */
  expect(names: readonly string[]): void {
    this.#names = names;
  }

  /** As `mcpServer/startupStatus/updated` tells it. */
  see(threadId: string, name: string, status: string): void {
    const thread = this.#of(threadId);
    thread.isStarting.set(name, status === "starting");
    const { changed } = thread;
    thread.changed = Promise.withResolvers();
    changed.resolve();
  }

  /** Resolves when the thread's servers have started or failed; at the latest at `deadline` (on the monotonic clock). Never rejects. */
  async settled(threadId: string, deadline: number): Promise<void> {
    if (this.#names.length === 0) return;
    const thread = this.#of(threadId);
    const since = monotonicMs();
    while (!thread.isSettled && this.#threads.get(threadId) === thread) {
      const until = Math.min(since + patience(thread, this.#names), deadline);
      const left = until - monotonicMs();
      if (left > 0) await sleepOr(left, thread.changed.promise);
      else thread.isSettled = true;
    }
  }

  /** The app-server does not have the thread in memory any more. */
  forget(threadId: string): void {
    const thread = this.#threads.get(threadId);
    this.#threads.delete(threadId);
    thread?.changed.resolve();
  }

  /** The process ended. */
  reset(): void {
    for (const threadId of this.#threads.keys()) this.forget(threadId);
  }

  #of(threadId: string): Thread {
    const known = this.#threads.get(threadId);
    if (known) return known;
    const thread = {
      isStarting: new Map<string, boolean>(),
      isSettled: false,
      changed: Promise.withResolvers<void>(),
    };
    remember(this.#threads, threadId, thread, MAX_THREADS);
    return thread;
  }
}

/** How long a turn waits for what is not known yet, ms. */
function patience({ isStarting }: Thread, names: readonly string[]): number {
  if ([...isStarting.values()].includes(true)) return START_MS;
  return names.every((name) => isStarting.has(name)) ? 0 : FIRST_WORD_MS;
}
