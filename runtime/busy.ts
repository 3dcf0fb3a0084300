import type { PeerRole } from "#protocol/bridge.ts";

/** Requests that start a turn. The other `thread/queue` methods only read or reorder. */
export const STARTING_METHODS: ReadonlySet<string> = new Set([
  "turn/start",
  "review/start",
  "thread/compact/start",
  "thread/queue/add",
  "thread/queue/start",
]);

/** After an accepted start without any sign of a turn, or after `idle` without the turn's end, a thread counts as free again. */
const SILENT_START_MS = 30_000;
const IDLE_SETTLE_MS = 5_000;

export interface Refusal {
  threadId: string;
  turnId?: string;
}

interface Running<Peer> {
  turnId?: string;
  owner?: Peer;
  /** Starting requests without an answer yet. */
  starting: number;
  /** The last turn that ended while a start was on its way: its answer may come later than its end. */
  ended?: string;
  /** Free from this moment on (on the monotonic clock), unless something happens. */
  freeAt?: number;
}

/** Which thread has a running turn, and whose it is. Pure: time is an argument. */
export class Busy<Peer> {
  readonly #threads = new Map<string, Running<Peer>>();

  count(now: number): number {
    for (const threadId of this.#threads.keys()) this.#current(threadId, now);
    return this.#threads.size;
  }

  owner(threadId: string): Peer | undefined {
    return this.#threads.get(threadId)?.owner;
  }

  /** Why a starting request must not be forwarded; undefined = it may. A client may steer its own turn, a lane never does. */
  refuse(threadId: string, peer: { peer: Peer; role: PeerRole }, now: number): Refusal | undefined {
    const running = this.#current(threadId, now);
    if (!running) return undefined;
    if (peer.role === "client" && running.owner === peer.peer) return undefined;
    return running.turnId ? { threadId, turnId: running.turnId } : { threadId };
  }

  /** Whether a running turn belongs to somebody else, who alone may steer it. */
  isForeign(threadId: string, peer: Peer, now: number): boolean {
    const running = this.#current(threadId, now);
    return running !== undefined && running.owner !== peer;
  }

  /** A starting request is about to be forwarded. */
  start(threadId: string, owner: Peer): void {
    const running = this.#threads.get(threadId) ?? { starting: 0 };
    running.owner = owner;
    running.starting += 1;
    delete running.freeAt;
    this.#threads.set(threadId, running);
  }

  /** Its answer: the turn's id where it has one. */
  accepted(threadId: string, turnId: string | undefined, now: number): void {
    const running = this.#answered(threadId);
    if (!running) return;
    if (turnId && turnId !== running.ended) running.turnId = turnId;
    if (running.starting > 0 || running.turnId) return;
    if (turnId) this.#threads.delete(threadId);
    else running.freeAt = now + SILENT_START_MS;
  }

  /** It was refused, or never forwarded after all: nothing was started. */
  rejected(threadId: string): void {
    const running = this.#answered(threadId);
    if (running && running.starting === 0 && !running.turnId) this.#threads.delete(threadId);
  }

  turnStarted(threadId: string, turnId: string): void {
    const running = this.#threads.get(threadId) ?? { starting: 0 };
    running.turnId = turnId;
    delete running.freeAt;
    this.#threads.set(threadId, running);
  }

  turnCompleted(threadId: string, turnId: string): void {
    const running = this.#threads.get(threadId);
    if (!running || (running.turnId && running.turnId !== turnId)) return;
    delete running.turnId;
    if (running.starting > 0) running.ended = turnId;
    else this.#threads.delete(threadId);
  }

  /** `thread/status/changed`: a turn that nobody asked for makes busy too; `idle` comes shortly before the turn's end. */
  statusChanged(threadId: string, status: string, now: number): void {
    const running = this.#threads.get(threadId);
    if (status === "active") {
      if (running) delete running.freeAt;
      else this.#threads.set(threadId, { starting: 0 });
    } else if (running && running.starting === 0) {
      if (status === "notLoaded" || !running.turnId) this.#threads.delete(threadId);
      else running.freeAt = now + IDLE_SETTLE_MS;
    }
  }

  /** The thread was closed, archived or deleted. */
  closed(threadId: string): void {
    this.#threads.delete(threadId);
  }

  /** The peer left: its turns run on without an owner. */
  leave(peer: Peer): void {
    for (const running of this.#threads.values()) {
      if (running.owner === peer) delete running.owner;
    }
  }

  /** The app-server ended, and every turn with it. Returns the threads that were busy. */
  clear(): string[] {
    const threads = [...this.#threads.keys()];
    this.#threads.clear();
    return threads;
  }

  #answered(threadId: string): Running<Peer> | undefined {
    const running = this.#threads.get(threadId);
    if (running && running.starting > 0) running.starting -= 1;
    return running;
  }

  #current(threadId: string, now: number): Running<Peer> | undefined {
    const running = this.#threads.get(threadId);
    if (running?.freeAt === undefined || running.freeAt > now) return running;
    this.#threads.delete(threadId);
    return undefined;
  }
}
