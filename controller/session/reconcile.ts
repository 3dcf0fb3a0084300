import { isDeepStrictEqual } from "node:util";
import type { PersistentVolumeClaim, Pod } from "#cluster/core-types.ts";
import type { EventRecorder } from "#cluster/events.ts";
import { isConflict, isNotFound, KubeError } from "#cluster/kube-error.ts";
import { present, splitKey } from "#cluster/objects.ts";
import {
  argusSessions,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  services,
} from "#cluster/resources.ts";
import type { Informer, KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import { API_VERSION, type ArgusSession } from "#crds/kinds.ts";
import type { Clock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import { LABEL } from "#protocol/pod.ts";
import type { NetworkPolicy } from "../network/policies.ts";
import { type Outcome, PausedError, TerminalError } from "../reconciler.ts";
import { isStale } from "../stale.ts";
import type { Troubles } from "../troubles.ts";
import type { Written } from "../written.ts";
import { type ActContext, act, type Failure } from "./act.ts";
import type { BridgeReader } from "./bridge-reader.ts";
import { checked } from "./checked.ts";
import type { ClaimEvents } from "./claim-events.ts";
import { isOurs, type Observed, observe, type Sources } from "./observe.ts";
import { type Plan, type Problem, plan } from "./plan.ts";
import { type PodSettings, USER_NAMESPACE_UID } from "./pod.ts";
import { isAgentRunning } from "./pod-state.ts";
import { missingRule, refusal } from "./refusals.ts";
import { computeStatus, isUrgent, statusDiffers } from "./status.ts";
import { tell, tellEnd } from "./tell.ts";
import type { UidBook } from "./uid-book.ts";

export interface SessionReconcilerOptions {
  kube: KubeClient;
  sessions: Informer<ArgusSession>;
  pods: Informer<Pod>;
  claims: Informer<PersistentVolumeClaim>;
  services: Informer<KubeObject>;
  policies: Informer<NetworkPolicy>;
  podsOf: (sessionUid: string) => Pod[];
  claimsOf: (sessionUid: string) => PersistentVolumeClaim[];
  book: UidBook;
  bridges: BridgeReader;
  claimEvents: Pick<ClaimEvents, "words">;
  written: Written;
  troubles: Troubles;
  events: EventRecorder;
  settings: PodSettings;
  /** Whether the namespace's service account exists, as of the start. */
  serviceAccountExists: boolean;
  clock: Clock;
}

const FIELD_MANAGER = "argus-controller";
/** The cache is behind what was written; its event comes sooner than this. */
const BEHIND_MS = 1000;
/** A problem that only people can end sends no event of its own. */
const PROBLEM_MS = 30_000;
/** Of the sentence about a status that cannot be written. */
const STATUS = "status";
/** Steps of a start are written together. */
const SETTLE_MS = 1500;
/** Statuses that are written at once at the end. */
const FINISHERS = 16;

/** One ArgusSession: pod, volume claims, user id and status. */
export class SessionReconciler {
  readonly #options: SessionReconcilerOptions;
  readonly #sources: Sources;
  readonly #context: ActContext;
  /** Since when a status that is not urgent waits. */
  readonly #unsettled = new Map<string, number>();
  #serviceAccountExists: boolean;
  #settleMs = SETTLE_MS;

  constructor(options: SessionReconcilerOptions) {
    this.#options = options;
    this.#serviceAccountExists = options.serviceAccountExists;
    const { book, bridges, claims, kube, written } = options;
    this.#sources = {
      pod: (key) => options.pods.get(key),
      podsOf: options.podsOf,
      claim: (key) => claims.get(key),
      claimWords: (claim) => options.claimEvents.words(claim),
      extras: (key) => ({ service: options.services.get(key), policy: options.policies.get(key) }),
      uidOf: ({ metadata }) => book.of(metadata.uid ?? ""),
      serviceAccountExists: () => this.#serviceAccountExists,
      bridge: (pod) => bridges.status(pod),
      isStale: () => isStale(options.pods) || isStale(claims),
    };
    this.#context = {
      kube,
      caches: new Map<Resource, Informer<KubeObject>>([
        [argusSessions, options.sessions],
        [pods, options.pods],
        [persistentVolumeClaims, claims],
        [services, options.services],
        [networkPolicies, options.policies],
      ]),
      written,
      setServiceAccount: (exists) => {
        this.#serviceAccountExists = exists;
      },
    };
  }

  async reconcile(key: string): Promise<Outcome> {
    const found = this.#options.sessions.get(key);
    await this.#releaseFormer(key, found);
    if (!found) {
      this.#unsettled.delete(key);
      return { done: true };
    }
    if (!this.#options.written.isSeen(key)) return { requeueAfterMs: BEHIND_MS };
    const { session, wrong } = checked(found);
    const { events } = this.#options;
    const { observed, decided } = await this.#decide(session, wrong);
    if (await this.#tellEndFirst(key, observed, decided)) return { requeueAfterMs: BEHIND_MS };
    const failure = await act(decided.actions, observed, this.#context);
    tell(events, session, { actions: decided.actions, failure });
    // Written, and nothing to report: the status follows when the cache shows it.
    if (decided.actions.length > 0 && !failure) return { requeueAfterMs: BEHIND_MS };
    const problem = failure?.problem ?? decided.problem;
    const guard = decided.mark === true;
    const waitMs = await this.#writeStatus(key, observed, { problem, guard });
    if (guard) return { requeueAfterMs: BEHIND_MS };
    return this.#outcome({ observed, decided, problem, waitMs, failure });
  }

  /** What ended a pod is gone with the pod's object, so the status says it before that is deleted. */
  async #tellEndFirst(key: string, observed: Observed, decided: Plan): Promise<boolean> {
    const { session, pod } = observed;
    const deletes = decided.actions.some(
      (action) => action.do === "delete" && action.uid === pod?.metadata.uid,
    );
    if (!deletes) return false;
    const next = computeStatus(observed, decided.problem, this.#now());
    if (isDeepStrictEqual(next.lastTermination, session.status?.lastTermination)) return false;
    await this.#writeStatus(key, observed, { problem: decided.problem, guard: false });
    return true;
  }

  /** Writes every status that still waits; for the end of a term, when nothing else is under way. */
  async finish(): Promise<void> {
    this.#settleMs = 0;
    const keys = [...this.#unsettled.keys()];
    const work = async () => {
      for (let key = keys.shift(); key !== undefined; key = keys.shift()) {
        // The next controller finds it as it is and writes it then.
        await this.reconcile(key).catch(() => undefined);
      }
    };
    await Promise.all(Array.from({ length: FINISHERS }, work));
  }

  /** Claims a user id first where one is missing: everything else is decided with it. */
  async #decide(
    session: ArgusSession,
    wrong: Problem | undefined,
  ): Promise<{ observed: Observed; decided: Plan }> {
    const { book, settings } = this.#options;
    const observed = observe(session, this.#sources, settings);
    if (wrong) return { observed, decided: { actions: [], problem: wrong } };
    const decided = plan(observed, settings, this.#now());
    if (!decided.actions.some((action) => action.do === "claimUid")) return { observed, decided };
    const { name, uid = "" } = session.metadata;
    const former = session.status?.runAsUser;
    const recorded = former === USER_NAMESPACE_UID ? undefined : former;
    try {
      await book.claim({ name, uid, recorded });
    } catch (error) {
      const problem = refusal(error, "ConfigMap argus-uids") ?? exhausted(error);
      if (!problem) throw error;
      return { observed, decided: { actions: [], problem } };
    }
    const again = observe(session, this.#sources, settings);
    return { observed: again, decided: plan(again, settings, this.#now()) };
  }

  /** Writes the status where it differs; returns how long a change that may wait still waits. */
  async #writeStatus(
    key: string,
    observed: Observed,
    { problem, guard }: { problem: Problem | undefined; guard: boolean },
  ): Promise<number | undefined> {
    const { session } = observed;
    const status = computeStatus(observed, problem, this.#now());
    if (!statusDiffers(session, status)) {
      this.#unsettled.delete(key);
      return undefined;
    }
    const waitMs = guard || isUrgent(session, status) ? 0 : this.#settling(key);
    if (waitMs > 0) return waitMs;
    const { name, namespace, uid, resourceVersion } = session.metadata;
    // The version that it was decided on: a successor of the same name is never given this status. (A real API server does
    // not look at the UID here.)
    const metadata = present({ namespace, uid, resourceVersion });
    const object = {
      apiVersion: API_VERSION,
      kind: "ArgusSession",
      metadata: { name, ...metadata },
      status,
    };
    const { kube, sessions, written, troubles, events } = this.#options;
    const manager = { fieldManager: FIELD_MANAGER, force: true };
    try {
      const answer = await kube.applyStatus(argusSessions, object, manager);
      written.wrote(key, sessions, answer);
      tellEnd(events, session, status.lastTermination);
    } catch (error) {
      // The session changed, is gone, or another one has its name: its event is on the way.
      if (!isNotFound(error) && !isConflict(error)) throw this.#untold(error);
    }
    troubles.clear(STATUS);
    this.#unsettled.delete(key);
    return undefined;
  }

  /** Where not even the status can tell, readiness and the log do. */
  #untold(error: unknown): unknown {
    const rule = error instanceof KubeError && missingRule(error.message);
    if (!rule) return error;
    this.#options.troubles.set(STATUS, `status cannot be written: ${rule}`);
    return new PausedError(rule, PROBLEM_MS);
  }

  #settling(key: string): number {
    const nowMs = this.#options.clock.monotonicMs();
    const sinceMs = this.#unsettled.get(key) ?? nowMs;
    this.#unsettled.set(key, sinceMs);
    return sinceMs + this.#settleMs - nowMs;
  }

  #outcome(made: {
    observed: Observed;
    decided: Plan;
    problem: Problem | undefined;
    waitMs: number | undefined;
    failure: Failure | undefined;
  }): Outcome {
    const { observed, decided, problem, waitMs, failure } = made;
    const { name } = observed.session.metadata;
    if (problem?.terminal) throw new TerminalError("InvalidInput", problem.message, { name });
    if (failure?.error) throw new PausedError(problem?.message ?? "", PROBLEM_MS);
    const times = [
      waitMs,
      decided.requeueAfterMs,
      problem && PROBLEM_MS,
      this.#nextReadMs(observed),
    ].filter((each) => each !== undefined);
    return times.length > 0 ? { requeueAfterMs: Math.min(...times) } : { done: true };
  }

  /** When what no watch brings should be read again: a bridge's status, the events of a claim. */
  #nextReadMs({ session, pod, unbound }: Observed): number | undefined {
    if (unbound) return PROBLEM_MS;
    const reads = pod && isOurs(pod, session) && isAgentRunning(pod);
    return reads ? this.#options.bridges.nextMs(pod) : undefined;
  }

  /** Frees the ids of sessions that had this name, once nothing of theirs exists any more, by the API server's own word. */
  async #releaseFormer(key: string, session: ArgusSession | undefined): Promise<void> {
    const { book, podsOf, claimsOf } = this.#options;
    const { name, namespace } = splitKey(key);
    for (const { uid } of book.holdersNamed(name)) {
      if (uid === session?.metadata.uid) continue;
      if (podsOf(uid).length > 0 || claimsOf(uid).length > 0) continue;
      if (await this.#anyChild(namespace, uid)) continue;
      await book.release(uid);
    }
  }

  async #anyChild(namespace: string, sessionUid: string): Promise<boolean> {
    const { kube } = this.#options;
    const selection = { namespace, labelSelector: `${LABEL.sessionUid}=${sessionUid}`, limit: 1 };
    for (const resource of [pods, persistentVolumeClaims]) {
      const { items } = await kube.list(resource, selection);
      if (items.length > 0) return true;
    }
    return false;
  }

  #now(): Date {
    return new Date(this.#options.clock.now());
  }
}

/** No user id is left. */
function exhausted(error: unknown): Problem | undefined {
  if (!(error instanceof ArgusError) || error instanceof KubeError) return undefined;
  if (error.code !== "Unavailable") return undefined;
  return { reason: "DependenciesNotReady", message: error.message };
}
