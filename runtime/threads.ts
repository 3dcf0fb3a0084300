import { z } from "zod";
import type { Logger } from "#lib/logger.ts";
import { splice } from "#lib/scan.ts";
import type { Caller } from "./caller.ts";
import type { Journal } from "./journal.ts";
import type { NewThreads } from "./new-threads.ts";
import { RpcFailure } from "./rpc.ts";
import type { ToolServers } from "./tool-servers.ts";

/** Threads that are remembered as usable or as unknown to the running process. */
const MAX_KNOWN = 10_000;
const RESUME_TIMEOUT_MS = 60_000;
const Started = z.looseObject({ thread: z.looseObject({ id: z.string().min(1) }) });

/** What a thread is told when the bridge resumes it. */
export type ResumePolicy = (threadId: string) => Record<string, unknown>;

export interface ThreadsOptions {
  caller: Caller;
  newThreads: NewThreads;
  journal: Journal;
  /** Of the loaded threads: they go with them. */
  toolServers: ToolServers;
  policy: ResumePolicy;
  /** Called once per process and thread, when it is loaded and before anything is forwarded to it. */
  settle: (threadId: string, history: History) => Promise<void>;
  logger: Logger;
}

/** `none`: the app-server has never heard of the thread; `unsupported`: it cannot tell. */
export type History = "there" | "none" | "unsupported";

/** Which threads the running app-server has loaded; brings those back that an earlier process had. */
export class Threads {
  readonly #options: ThreadsOptions;
  readonly #loaded = new Set<string>();
  readonly #loading = new Map<string, Promise<void>>();
  /** Not kept by the app-server: they would be lost with its end. */
  readonly #ephemeral = new Set<string>();
  #aliases: Alias[];

  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#aliases = aliasesOf(options.newThreads);
  }

  get hasEphemeral(): boolean {
    return this.#ephemeral.size > 0;
  }

  /** Threads that the running process has loaded. */
  get loaded(): readonly string[] {
    return [...this.#loaded];
  }

  isLoaded(threadId: string): boolean {
    return this.#loaded.has(threadId);
  }

  /**
   * Makes the thread usable in the running process: resumes it, or starts it anew when it never had a turn. Throws
   * RpcFailure when that failed in a way that may pass; a thread that nobody knows is no error, the app-server says so.
   */
  async ensure(threadId: string): Promise<void> {
    if (this.#loaded.has(threadId)) return;
    await this.#once(threadId, () => this.#load(threadId));
  }

  /** A peer's thread/start was answered; resolves when the thread would survive a restart. */
  async started(threadId: string, params: Record<string, unknown>): Promise<void> {
    this.#remember(threadId);
    if (params.ephemeral === true) this.#ephemeral.add(threadId);
    const line = this.#options.newThreads.started(threadId, params);
    if (line) await this.#options.journal.append(line, true);
  }

  /** A peer's thread/resume was answered: the thread is loaded. */
  async resumed(threadId: string): Promise<void> {
    if (this.#loaded.has(threadId)) return;
    await this.#once(threadId, () => this.#there(threadId));
  }

  /** A peer's thread/fork was answered with a thread of its own. */
  forked(threadId: string): void {
    this.#remember(threadId);
  }

  /** Whether a peer's thread/resume must be preceded by our own: the app-server may not have it in its history. */
  isNew(threadId: string): boolean {
    return !this.#loaded.has(threadId) && this.#options.newThreads.paramsOf(threadId) !== undefined;
  }

  /** The app-server does not have it in memory any more. */
  unloaded(threadId: string): void {
    this.#loaded.delete(threadId);
    this.#ephemeral.delete(threadId);
    this.#options.toolServers.forget(threadId);
  }

  /** Archived or deleted: never to be made anew. */
  removed(threadId: string): void {
    this.unloaded(threadId);
    const { newThreads, journal, logger } = this.#options;
    const line = newThreads.settled(threadId);
    if (!line) return;
    journal.append(line, false).catch((error: unknown) => {
      logger.warn({ err: error }, "removed thread was not recorded");
    });
  }

  /** The process ended. */
  reset(): void {
    this.#loaded.clear();
    this.#ephemeral.clear();
    this.#options.toolServers.reset();
  }

  /** A line for the app-server, with its own names of threads. */
  toAppServer(...pieces: Buffer[]): Buffer[] {
    if (this.#aliases.length === 0) return pieces;
    const renamed = this.#aliases.reduce<Buffer>(
      (text, { thread, current }) => replaceAll(text, thread, current),
      Buffer.concat(pieces),
    );
    return [renamed];
  }

  /** A line for peers, with the names that they know. */
  toPeers(line: Buffer): Buffer {
    return this.#aliases.reduce(
      (text, { thread, current }) => replaceAll(text, current, thread),
      line,
    );
  }

  async #load(threadId: string): Promise<void> {
    const { caller, policy } = this.#options;
    const params = { threadId, excludeTurns: true, ...policy(threadId) };
    try {
      await caller.call("thread/resume", params, { timeoutMs: RESUME_TIMEOUT_MS });
    } catch (error) {
      return this.#notResumed(threadId, error);
    }
    await this.#there(threadId);
  }

  /** One at a time per thread: two settlements of one input could disagree about a repeat in between. */
  async #once(threadId: string, load: () => Promise<void>): Promise<void> {
    const loading = this.#loading.get(threadId) ?? load();
    this.#loading.set(threadId, loading);
    await loading.finally(() => this.#loading.delete(threadId));
  }

  async #there(threadId: string): Promise<void> {
    await this.#settleHistory(threadId, "there");
    this.#remember(threadId);
  }

  async #notResumed(threadId: string, error: unknown): Promise<void> {
    const history = historyAfter(error);
    const { newThreads } = this.#options;
    const params = newThreads.paramsOf(threadId);
    if (history === "none" && params) await this.#renew(threadId, params);
    await this.#settleHistory(threadId, history);
    this.#remember(threadId);
  }

  async #renew(threadId: string, params: Record<string, unknown>): Promise<void> {
    const { caller, newThreads, journal, logger } = this.#options;
    const started = Started.parse(
      await caller.call("thread/start", params, { timeoutMs: RESUME_TIMEOUT_MS }),
    );
    await journal.append(newThreads.renewed(threadId, started.thread.id), true);
    this.#aliases = aliasesOf(newThreads);
    logger.info(
      { thread: threadId, current: started.thread.id },
      "thread without a turn made anew",
    );
  }

  async #settleHistory(threadId: string, history: History): Promise<void> {
    const { newThreads, journal, settle } = this.#options;
    await settle(threadId, history);
    const line = history === "there" && !this.#loaded.has(threadId) && newThreads.settled(threadId);
    if (line) await journal.append(line, false);
  }

  #remember(threadId: string): void {
    if (this.#loaded.size >= MAX_KNOWN) {
      for (const oldest of this.#loaded) {
        this.#loaded.delete(oldest);
        break;
      }
    }
    this.#loaded.add(threadId);
  }
}

interface Alias {
  /** Quoted, as they stand in a line: a quote inside of a text has a backslash, so only whole values match. */
  thread: Buffer;
  current: Buffer;
}

function aliasesOf(newThreads: NewThreads): Alias[] {
  return newThreads.aliases().map(({ thread, current }) => ({
    thread: Buffer.from(JSON.stringify(thread)),
    current: Buffer.from(JSON.stringify(current)),
  }));
}

function replaceAll(line: Buffer, from: Buffer, to: Buffer): Buffer {
  let text = line;
  for (let at = text.indexOf(from); at >= 0; at = text.indexOf(from, at + to.length)) {
    text = splice(text, { start: at, end: at + from.length }, to);
  }
  return text;
}

/** What a refused thread/resume says about history. Throws when it says nothing: then nobody may act on it. */
function historyAfter(error: unknown): History {
  if (!(error instanceof RpcFailure)) throw error;
  const { message } = error.error;
  if (/no rollout found|thread not found/i.test(message)) return "none";
  if (isUnsupported(error)) return "unsupported";
  throw error;
}

/** Whether a call failed because the app-server does not know its method. */
export function isUnsupported(error: unknown): boolean {
  if (!(error instanceof RpcFailure)) return false;
  const { code, message, data } = error.error;
  const isUnknown = code === -32601 || /unknown variant|method not found/i.test(message);
  return isUnknown && data === undefined;
}
