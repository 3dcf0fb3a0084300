import { EventRecorder } from "#cluster/events.ts";
import { argusSessions } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { API_VERSION, type ArgusSession } from "#crds/kinds.ts";
import { type Clock, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Running } from "#lib/running.ts";
import { WorkQueue } from "#lib/workqueue.ts";
import type { Lane } from "../lanes/lane.ts";
import type { DocumentWatcher, Lanes } from "../lanes/lanes.ts";
import { findingsChangeInMs, gatewayFindings, type LaneFacts } from "./conditions.ts";
import { demandOf, mayStart } from "./demand.ts";
import { endSession } from "./ending.ts";
import { hold, isHeld } from "./finalizer.ts";
import { MAX_CLOSING_MS } from "./goodbye.ts";
import { Quiet } from "./quiet.ts";
import { type GatewayStatus, gatewayStatus, statusDiffers } from "./status.ts";
import { Use } from "./use.ts";
import { UseLooks, type UseLooksOptions } from "./use-looks.ts";

const FIELD_MANAGER = "argus-gateway";
const WORKERS = 8;
const RETRY = { atLeastMs: 250, atMostMs: 30_000 };
/** A session that was needed stays so for a moment: a conversation costs no write per message. */
const LINGER_MS = 5_000;
/** The cache shows a write within this, or it is looked at again. */
const BEHIND_MS = 1_000;
/** A document that could not be read may have been repaired. */
const UNREADABLE_MS = 60_000;

export interface KeeperOptions extends Omit<UseLooksOptions, "clock"> {
  kube: KubeClient;
  /** The session's end: nothing that was kept of it beside its document is a successor's. */
  forget: (session: { uid: string; name: string }) => Promise<void>;
  clock?: Clock;
}

/** What is known of one session object. Times are of the monotonic clock. */
interface Kept {
  name: string;
  use: Use;
  quiet: Quiet<"lane" | "deliveries">;
  lane?: Lane;
  unreadable?: string;
  isHeld?: boolean;
  /** A write that the cache does not show yet. */
  written?: { status: GatewayStatus; until: number };
  /** "None" may be at the API server: only a new "Open" opens the session again. */
  isClearing: boolean;
  /** Since when nothing is open. */
  restsSince?: number;
  closingSince?: number;
}

/**
 * Keeps the gateway's part of every session object as it should be: demand, conditions, the finalizer, the end of a deleted one.
 * Level-triggered: what it writes follows from documents, clients and bridges; where nothing changes it writes nothing.
 */
export class SessionKeeper implements DocumentWatcher, Running {
  readonly closed: Promise<void>;
  readonly #options: KeeperOptions;
  readonly #clock: Clock;
  readonly #queue: WorkQueue;
  readonly #events: EventRecorder;
  readonly #looks: UseLooks;
  /** By the session object's UID. */
  readonly #kept = new Map<string, Kept>();
  readonly #signal: AbortSignal;
  readonly #begun = Promise.withResolvers<Lanes>();

  constructor(options: KeeperOptions, signal: AbortSignal) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const backoff = { baseMs: 250, maxMs: 30_000 };
    this.#queue = new WorkQueue({ backoff, clock: this.#clock });
    this.#signal = signal;
    const { kube, logger } = options;
    this.#looks = new UseLooks({ ...options, clock: this.#clock }, signal);
    this.#events = new EventRecorder({ kube, component: FIELD_MANAGER, logger });
    const run = this.#begun.promise.then((lanes) =>
      Promise.all(Array.from({ length: WORKERS }, () => this.#work(lanes))),
    );
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    this.closed = aborted.then(async () => {
      this.#queue.close();
      await Promise.race([run, Promise.resolve()]);
    });
  }

  /** From now on everything that is known is kept up; `lanes` have read the documents. */
  begin(lanes: Lanes): void {
    const { directory } = this.#options;
    directory.watchNames((name) => this.#touched(name));
    for (const { metadata } of directory.sessions()) this.#touched(metadata.name);
    this.#begun.resolve(lanes);
  }

  /** What clients do with the session beside its lane. */
  useOf(session: ArgusSession): Use {
    return this.#of(session).use;
  }

  /** A turn may start: the API server knows that the session is needed. */
  mayStart(session: ArgusSession): boolean {
    const kept = this.#kept.get(session.metadata.uid ?? "");
    return mayStart(session) && !kept?.isClearing;
  }

  /** Before anything is accepted for the session: its deletion waits for us. Throws `NotFound`, or what the API server says. */
  async guard(session: ArgusSession): Promise<void> {
    const kept = this.#of(session);
    if (kept.isHeld || isHeld(session)) return;
    await hold(this.#options.kube, session);
    kept.isHeld = true;
  }

  changed(uid: string, lane: Lane, name: string): void {
    const kept = this.#kept.get(uid) ?? this.#make(uid, name, undefined);
    kept.lane = lane;
    delete kept.unreadable;
    this.#queue.add(name);
  }

  unreadable(uid: string, name: string, why: string): void {
    const kept = this.#kept.get(uid) ?? this.#make(uid, name, undefined);
    kept.unreadable = why;
    this.#queue.add(name);
  }

  gone(uid: string): void {
    this.#kept.delete(uid);
  }

  #of(session: ArgusSession): Kept {
    const { name, uid = "" } = session.metadata;
    return this.#kept.get(uid) ?? this.#make(uid, name, session);
  }

  /** After a restart an open demand may be a client's whose turn still runs: the bridge is asked before it is cleared. */
  #make(uid: string, name: string, session: ArgusSession | undefined): Kept {
    const known = session ?? this.#options.directory.session(name);
    const isOurs = known?.metadata.uid === uid;
    const use = new Use({
      isOpen: isOurs && known.status?.activity?.demand === "Open",
      isAllowed: isOurs && mayStart(known),
      onOpen: () => this.#queue.add(name, "urgent"),
    });
    const kept: Kept = { name, use, quiet: new Quiet(this.#clock), isClearing: false };
    this.#kept.set(uid, kept);
    return kept;
  }

  #touched(name: string): void {
    const session = this.#options.directory.session(name);
    const uid = session?.metadata.uid;
    for (const [other, kept] of session ? [] : this.#kept) {
      if (kept.name === name) this.#kept.delete(other);
    }
    if (!session || !uid) return;
    const kept = this.#of(session);
    const { written } = kept;
    if (written && shows(session, written.status)) {
      delete kept.written;
      kept.isClearing = written.status.activity.demand === "None";
    }
    kept.use.allow(this.mayStart(session));
    this.#queue.add(name);
  }

  async #work(lanes: Lanes): Promise<void> {
    for (;;) {
      const name = await this.#queue.take(this.#signal).catch(() => undefined);
      if (name === undefined) return;
      try {
        const waitMs = await this.#reconcile(name, lanes);
        this.#queue.forget(name);
        if (waitMs !== undefined) this.#queue.addAfter(name, waitMs);
      } catch (error) {
        if (!this.#signal.aborted) {
          const facts = { session: name, error: errorMessage(error) };
          this.#options.logger.warn(facts, "a session's state was not told; trying again");
          this.#queue.retry(name, RETRY);
        }
      } finally {
        this.#queue.done(name);
      }
    }
  }

  /** Resolves to when it should be looked at again, in milliseconds; undefined = when something changes. */
  async #reconcile(name: string, lanes: Lanes): Promise<number | undefined> {
    const session = this.#options.directory.session(name);
    if (!session) return undefined;
    const kept = this.#of(session);
    if (session.metadata.deletionTimestamp) {
      const now = this.#clock.monotonicMs();
      kept.closingSince ??= now;
      const { kube, forget } = this.#options;
      const left = kept.closingSince + MAX_CLOSING_MS - now;
      return await endSession(session, left, { kube, lanes, forget, events: this.#events });
    }
    if (kept.written) {
      if (this.#clock.monotonicMs() < kept.written.until) return BEHIND_MS;
      delete kept.written;
    }
    const used = await this.#looks.look(session, kept.use);
    const told = await this.#tell(session, kept);
    return earliest([used, told, await this.#repair(session, kept, lanes)]);
  }

  async #tell(session: ArgusSession, kept: Kept): Promise<number | undefined> {
    const facts = this.#facts(kept);
    const { document } = facts;
    const demand = demandOf({ document, isUsed: kept.use.isOpen, session });
    const lingers = this.#lingers(session, kept, demand);
    if (lingers !== undefined) return lingers;
    const findings = gatewayFindings(facts);
    const next = gatewayStatus(session, { demand, findings, now: new Date(this.#clock.now()) });
    const isDoubtful = kept.isClearing && demand === "Open";
    if (statusDiffers(session, next) || isDoubtful) await this.#write(session, kept, next);
    return findingsChangeInMs(facts);
  }

  #facts({ lane, unreadable, quiet }: Kept): LaneFacts {
    return {
      document: lane?.state.current,
      unreadable,
      isRunning: (lane?.running ?? "") !== "",
      waitsFor: lane?.waitsFor ?? "",
      quietMs: (of, stamp) => quiet.ms(of, stamp),
    };
  }

  /** How long the demand still stays open although nothing is; undefined = it may be cleared. */
  #lingers({ status }: ArgusSession, kept: Kept, demand: "None" | "Open"): number | undefined {
    if (demand === "Open" || status?.activity?.demand !== "Open") {
      delete kept.restsSince;
      return undefined;
    }
    const now = this.#clock.monotonicMs();
    kept.restsSince ??= now;
    const left = kept.restsSince + LINGER_MS - now;
    return left > 0 ? left : undefined;
  }

  async #write(session: ArgusSession, kept: Kept, status: GatewayStatus): Promise<void> {
    const { name, namespace = "", uid = "" } = session.metadata;
    const object = {
      apiVersion: API_VERSION,
      kind: "ArgusSession",
      metadata: { name, namespace, uid },
      status,
    };
    if (status.activity.demand === "None") {
      // From here on until a new word is there, nothing starts.
      kept.isClearing = true;
      kept.use.allow(this.mayStart(session));
    }
    kept.written = { status, until: this.#clock.monotonicMs() + BEHIND_MS };
    try {
      const manager = { fieldManager: FIELD_MANAGER, force: true };
      await this.#options.kube.applyStatus(argusSessions, object, manager);
    } catch (error) {
      delete kept.written;
      throw error;
    }
    this.#touched(name);
  }

  async #repair(session: ArgusSession, kept: Kept, lanes: Lanes): Promise<number | undefined> {
    if (kept.unreadable === undefined) return undefined;
    const before = kept.unreadable;
    await lanes.of(session).catch(() => undefined);
    return kept.unreadable === before ? UNREADABLE_MS : 0;
  }
}

function shows(session: ArgusSession, status: GatewayStatus): boolean {
  return !statusDiffers(session, status);
}

function earliest(times: (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length > 0 ? Math.max(1, Math.min(...known)) : undefined;
}
