import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { ArgusError } from "#lib/errors.ts";
import type { RunningTurn } from "./running-turn.ts";
import { type Item, type ThreadFacts, type Turn, threadView } from "./shapes.ts";
import { appendRecords, dropTornTail, readThread, type ThreadRecord } from "./thread-file.ts";

const MAX_THREADS = 10_000;
const FILE = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jsonl$/;

/** One conversation. Its turns are read from its file when they are asked for. */
export class Thread {
  readonly facts: ThreadFacts;
  readonly path: string;
  /** Started or resumed in this process. */
  loaded = false;
  /** Has a file; made with the first turn, as Codex does. */
  stored: boolean;
  /** An answer has said that this is an echo. */
  labelled = false;
  active: RunningTurn | undefined;
  #lastAppend: Promise<unknown> = Promise.resolve();

  constructor(facts: ThreadFacts, path: string, stored: boolean) {
    this.facts = facts;
    this.path = path;
    this.stored = stored;
  }

  /** Resolves when the records are on the disk, behind all earlier ones. */
  append(...records: ThreadRecord[]): Promise<void> {
    const written = this.#lastAppend.then(() => appendRecords(this.path, records));
    // A failed write is the affair of who asked for it; the next one is tried.
    this.#lastAppend = written.catch(() => undefined);
    return written;
  }

  /** Oldest first, the running one with what it has so far. */
  async turns(): Promise<Turn[]> {
    if (!this.stored) return [];
    const turns = (await readThread(this.path))?.turns ?? [];
    const running = this.active?.turn;
    return turns.map((turn) => (turn.id === running?.id ? running : turn));
  }

  view(turns: Record<string, unknown>[] = []): object {
    const status = this.loaded ? (this.active?.threadStatus ?? IDLE) : { type: "notLoaded" };
    return threadView(this.facts, { status, path: this.stored ? this.path : null, turns });
  }
}

export const IDLE = { type: "idle" };

/** All threads of a home, each in its own file. */
export class Threads {
  readonly #folder: string;
  readonly #threads = new Map<string, Thread>();

  /** Finds the threads of earlier processes. */
  static async open(folder: string): Promise<Threads> {
    await mkdir(folder, { recursive: true });
    const threads = new Threads(folder);
    for (const name of (await readdir(folder)).sort().slice(-MAX_THREADS)) {
      if (FILE.test(name)) await threads.#find(join(folder, name));
    }
    return threads;
  }

  private constructor(folder: string) {
    this.#folder = folder;
  }

  get(id: string): Thread | undefined {
    return this.#threads.get(id);
  }

  /** A loaded thread without turns. Throws Busy when there are too many. */
  add(facts: ThreadFacts): Thread {
    if (this.#threads.size >= MAX_THREADS) {
      throw new ArgusError("Busy", `there are ${MAX_THREADS} threads already`, {});
    }
    const thread = new Thread(facts, join(this.#folder, `${facts.id}.jsonl`), false);
    thread.loaded = true;
    this.#threads.set(facts.id, thread);
    return thread;
  }

  all(): Thread[] {
    return [...this.#threads.values()];
  }

  async #find(path: string): Promise<void> {
    await dropTornTail(path);
    const content = await readThread(path);
    if (!content) return;
    const thread = new Thread(content.thread, path, true);
    const isAnswer = ({ type }: Item) => type === "agentMessage";
    thread.labelled = content.turns.some(({ items }) => items.some(isAnswer));
    this.#threads.set(content.thread.id, thread);
  }
}
