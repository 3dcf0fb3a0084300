import { monotonicMs } from "#lib/clock.ts";

/** A server of which the app-server says nothing for so long after the thread was loaded is none that it starts. */
const FIRST_WORD_MS = 2000;
/** config.toml gives each server 30 s to start; after them the app-server says that it failed. */
const START_MS = 35_000;
const MAX_THREADS = 10_000;

interface Thread {
  starting: Set<string>;
  /** Ready, failed or cancelled. */
  over: Set<string>;
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
    const [to, from] =
      status === "starting" ? [thread.starting, thread.over] : [thread.over, thread.starting];
    from.delete(name);
    to.add(name);
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
      if (left > 0) await within(thread.changed.promise, left);
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
    const [oldest] = this.#threads.keys();
    if (oldest !== undefined && this.#threads.size >= MAX_THREADS) this.forget(oldest);
    const thread = {
      starting: new Set<string>(),
      over: new Set<string>(),
      isSettled: false,
      changed: Promise.withResolvers<void>(),
    };
    this.#threads.set(threadId, thread);
    return thread;
  }
}

/** How long a turn waits for what is not known yet, ms. */
function patience({ starting, over }: Thread, names: readonly string[]): number {
  if (starting.size > 0) return START_MS;
  return names.every((name) => over.has(name)) ? 0 : FIRST_WORD_MS;
}

async function within(promise: Promise<void>, ms: number): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  await Promise.race([promise, late.promise]);
  clearTimeout(timer);
}
