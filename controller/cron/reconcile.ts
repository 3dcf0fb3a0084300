import type { EventRecorder } from "#cluster/events.ts";
import { isConflict, isNotFound, isWithoutAnswer } from "#cluster/kube-error.ts";
import { argusCrons, argusSessions } from "#cluster/resources.ts";
import type { Fence, Informer, KubeClient, KubeObject } from "#cluster/types.ts";
import { ArgusCronSpec, type ArgusCronStatus } from "#crds/argus-cron.ts";
import { API_VERSION, type ArgusCron, type ArgusSession } from "#crds/kinds.ts";
import { backoffMs, type Clock } from "#lib/clock.ts";
import { type SlotEvent, slotKey } from "#protocol/events.ts";
import { type Outcome, TerminalError } from "../reconciler.ts";
import type { Written } from "../written.ts";
import { Follower } from "./follow.ts";
import type { CronMetrics } from "./metrics.ts";
import { type Plan, plan } from "./plan.ts";
import type { AskFate, Post, PostResult } from "./post.ts";
import {
  allSkips,
  computeStatus,
  type Decided,
  SKIP_WORDS,
  skippedCount,
  statusDiffers,
  timeOf,
} from "./status.ts";

export interface CronReconcilerOptions {
  kube: KubeClient;
  /** Of the term as the leader: posts heed it too. */
  fence: Fence;
  crons: Informer<ArgusCron>;
  sessions: Informer<ArgusSession>;
  post: Post;
  /** Without it nobody looks what becomes of a slot that was queued. */
  fate?: AskFate;
  agenda: { set(key: string, atMs: number): void; delete(key: string): void };
  written: Written;
  events: Pick<EventRecorder, "record">;
  metrics: CronMetrics;
  clock: Clock;
  random?: () => number;
}

interface Waiting {
  attempts: number;
  slotMs: number;
  result: PostResult;
  /** When the same slot is posted again. */
  notBeforeMs: number;
  /** Until then the gateway asked for no further post, of whatever slot. */
  busyUntilMs: number;
}

const FIELD_MANAGER = "argus-controller-cron";
/** The cache is behind what was written; its event comes sooner than this. */
const BEHIND_MS = 1000;
/** Between two posts of a slot that the gateway did not take. */
const RETRY = { baseMs: 1000, maxMs: 30_000 };

/** One ArgusCron: posts its due slot, then moves its status. A crash between the two repeats a harmless post. */
export class CronReconciler {
  readonly #options: CronReconcilerOptions;
  /** Slots that the gateway did not take; one for each cron at most. */
  readonly #waiting = new Map<string, Waiting>();
  /** Statuses that give up slots and got no answer: until their fate is known those slots must not be posted. */
  readonly #unanswered = new Map<string, StatusObject>();
  readonly #follower: Follower;

  constructor(options: CronReconcilerOptions) {
    this.#options = options;
    this.#follower = new Follower(options);
  }

  async reconcile(key: string): Promise<Outcome> {
    const { crons, agenda, written } = this.#options;
    const found = crons.get(key);
    if (!found || found.metadata.deletionTimestamp) {
      agenda.delete(key);
      this.#waiting.delete(key);
      this.#unanswered.delete(key);
      this.#follower.forget(key);
      return { done: true };
    }
    await this.#settleUnanswered(key);
    if (!written.isSeen(key)) return { requeueAfterMs: BEHIND_MS };
    const cron = checked(found);
    const { sessionExists, planned } = await this.#decide(cron);
    const result = await this.#postDue(key, cron, planned);
    const followed = await this.#follower.follow(key, cron, {
      result,
      postMs: planned.postMs,
    });
    const decided = { cron, sessionExists, plan: planned, result, followed };
    await this.#writeStatus(key, decided);
    return this.#again(key, planned);
  }

  async #decide(cron: ArgusCron): Promise<{ sessionExists: boolean; planned: Plan }> {
    const { kube, sessions, clock } = this.#options;
    const { namespace = "" } = cron.metadata;
    const { name } = cron.spec.sessionRef;
    const isThere = (session: ArgusSession | undefined) =>
      session !== undefined && session.metadata.deletionTimestamp === undefined;
    const nowMs = clock.now();
    const sessionExists = isThere(sessions.get(`${namespace}/${name}`));
    const planned = plan(cron, sessionExists, nowMs);
    if (!planned.skips.some(({ reason }) => reason === "SessionNotFound")) {
      return { sessionExists, planned };
    }
    // No slot is given up because a cache is late.
    const ref = { resource: argusSessions, namespace, name };
    if (!isThere(await kube.get<ArgusSession>(ref))) return { sessionExists, planned };
    return { sessionExists: true, planned: plan(cron, true, nowMs) };
  }

  /** The gateway's answer about the due slot, or the last one while its next try has to wait. */
  async #postDue(key: string, cron: ArgusCron, { postMs }: Plan): Promise<PostResult | undefined> {
    const { post, fence, clock, metrics, random } = this.#options;
    const waiting = this.#waiting.get(key);
    if (postMs === undefined) {
      this.#waiting.delete(key);
      return undefined;
    }
    if (waiting && clock.monotonicMs() < againMs(waiting, postMs)) return waiting.result;
    const result = await post(eventOf(cron, postMs), fence);
    metrics.posted(result, (clock.now() - postMs) / 1000);
    if (result.state !== "failed") {
      this.#waiting.delete(key);
      return result;
    }
    const attempts = waiting ? waiting.attempts + 1 : 0;
    const nowMs = clock.monotonicMs();
    const busyUntilMs = nowMs + (result.retryAfterMs ?? 0);
    const notBeforeMs = Math.max(busyUntilMs, nowMs + backoffMs(attempts, RETRY, random));
    this.#waiting.set(key, { attempts, slotMs: postMs, result, notBeforeMs, busyUntilMs });
    return result;
  }

  async #writeStatus(key: string, decided: Decided): Promise<void> {
    const { clock, metrics } = this.#options;
    const { cron } = decided;
    const status = computeStatus(decided, new Date(clock.now()));
    if (!statusDiffers(cron, status)) return;
    const object = statusObject(cron, status);
    try {
      await this.#apply(key, object);
    } catch (error) {
      if (allSkips(decided).length > 0 && isWithoutAnswer(error)) this.#unanswered.set(key, object);
      // A conflict is decided on anew, with the newer object.
      if (!isNotFound(error)) throw error;
      return;
    }
    metrics.skipped(allSkips(decided));
    this.#tell(decided, status);
  }

  async #apply(key: string, object: StatusObject): Promise<void> {
    const { kube, crons, written } = this.#options;
    const manager = { fieldManager: FIELD_MANAGER, force: true };
    written.wrote(key, crons, await kube.applyStatus(argusCrons, object, manager));
  }

  /** Writes an unanswered status again: its version lets it through at most once, and a conflict tells that the cache is behind. */
  async #settleUnanswered(key: string): Promise<void> {
    const object = this.#unanswered.get(key);
    if (!object) return;
    const { crons, written } = this.#options;
    try {
      await this.#apply(key, object);
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
      written.outdated(key, crons, key, object);
    }
    this.#unanswered.delete(key);
  }

  /** Events of what was decided: slots that did not run, and a Ready that became False. */
  #tell(decided: Decided, status: ArgusCronStatus): void {
    const { events } = this.#options;
    const { cron } = decided;
    const object: KubeObject = { ...cron, apiVersion: API_VERSION, kind: "ArgusCron" };
    const skips = allSkips(decided);
    const last = skips.at(-1);
    if (last) {
      const count = skippedCount(skips);
      const slots = count === 1 ? "the slot" : `${count} slots up to`;
      const message = `${slots} ${timeOf(last.slotMs)} did not run: ${SKIP_WORDS[last.reason]}`;
      events.record(object, { type: "Warning", reason: "ScheduleMissed", message });
    }
    const ready = (of: ArgusCronStatus | undefined) =>
      of?.conditions?.find(({ type }) => type === "Ready");
    const next = ready(status);
    if (!next || next.status !== "False" || next.reason === "Suspended") return;
    if (ready(cron.status)?.reason === next.reason) return;
    const { reason, message } = next;
    events.record(object, { type: "Warning", reason, message });
  }

  #again(key: string, { problem, nextMs }: Plan): Outcome {
    const { agenda, clock } = this.#options;
    if (nextMs === undefined) agenda.delete(key);
    else agenda.set(key, nextMs);
    if (problem) throw new TerminalError("InvalidInput", problem.message);
    const waits = [this.#waiting.get(key)?.notBeforeMs, this.#follower.nextMs(key)];
    const times = waits.filter((time) => time !== undefined);
    if (times.length === 0) return { done: true };
    return { requeueAfterMs: Math.max(0, Math.min(...times) - clock.monotonicMs()) };
  }
}

type StatusObject = ReturnType<typeof statusObject>;

function againMs({ slotMs, notBeforeMs, busyUntilMs }: Waiting, postMs: number): number {
  return slotMs === postMs ? notBeforeMs : busyUntilMs;
}

function eventOf({ metadata, spec }: ArgusCron, slotMs: number): SlotEvent {
  const { name, uid = "" } = metadata;
  return {
    key: slotKey(uid, slotMs),
    sessionId: spec.sessionRef.name,
    kind: "cron",
    text: spec.event.text,
    concurrencyPolicy: spec.concurrencyPolicy,
    slot: timeOf(slotMs),
    source: { name, uid },
  };
}

/**
 * With its version the status is refused once anything changed: nobody who was asleep overwrites a newer cursor, and a successor
 * of the same name never gets this status. (A UID in it would not be checked by a real API server.)
 */
function statusObject({ metadata }: ArgusCron, status: ArgusCronStatus) {
  const { name, namespace, resourceVersion } = metadata;
  return {
    apiVersion: API_VERSION,
    kind: "ArgusCron",
    metadata: {
      name,
      ...(namespace ? { namespace } : {}),
      ...(resourceVersion ? { resourceVersion } : {}),
    },
    status,
  } as const;
}

/** The cron with every default in place. A spec that an older CRD let through is said, never a crash. */
function checked(cron: ArgusCron): ArgusCron {
  const { data, error } = ArgusCronSpec.safeParse(cron.spec);
  if (data) return { ...cron, spec: data };
  const fields = error.issues
    .slice(0, 5)
    .map(({ path, message }) => `${path.join(".")}: ${message}`);
  throw new TerminalError("InvalidInput", `spec is not valid: ${fields.join("; ")}`);
}
