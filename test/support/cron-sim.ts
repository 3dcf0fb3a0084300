import { KubeError } from "#cluster/kube-error.ts";
import type { Fence, Informer, KubeClient, KubeObject } from "#cluster/types.ts";
import type { PostResult } from "#controller/cron/post.ts";
import { CronReconciler } from "#controller/cron/reconcile.ts";
import { Written } from "#controller/written.ts";
import type { ArgusCronStatus } from "#crds/argus-cron.ts";
import type { ArgusCron, ArgusSession } from "#crds/kinds.ts";
import { type SlotEvent, slotKey } from "#protocol/events.ts";
import { EventLedger } from "../fakes/event-endpoint.ts";
import { CronJudge } from "./cron-judge.ts";

/** The replica that made this effect is dead. */
class Crash extends Error {}

export interface SimOptions {
  random: () => number;
  timeZone: string;
  /** The first is in force; an edit takes another one. */
  schedules: string[];
  fromMs: number;
  untilMs: number;
}

export interface SimCounts {
  slots: number;
  posted: number;
  skipped: number;
  /** Counted as missed although it had been queued: its answer was lost and a later slot was due first. */
  overReported: number;
  crashes: number;
  failOvers: number;
  jumps: number;
  faults: number;
  repeats: number;
}

const KEY = "default/cron";
const NAMESPACE = "default";
const HOUR_MS = 3_600_000;
const LONGEST_RETRY_MS = 31_000;
const MAX_LAG_MS = 20_000;
/** So that the end of the window is not overslept. */
const MAX_WAIT_MS = 6 * HOUR_MS;

/** How often something happens, per effect or per step. */
const CHANCE = {
  crashBefore: 0.01,
  crashAfter: 0.01,
  pause: 0.004,
  refused: 0.02,
  lostAnswer: 0.01,
  outage: 0.004,
  jump: 0.002,
  edit: 0.001,
  suspend: 0.001,
  session: 0.001,
  active: 0.02,
  lag: 0.3,
  extraPass: 0.1,
};

/**
 * One ArgusCron, an API server with its versions, two or more replicas of the real reconciler one after another, and an
 * endpoint; all on a clock that is moved by hand. Whatever goes wrong is drawn from `random`, so the same seed repeats it.
 */
export class CronSim {
  readonly counts: SimCounts = {
    slots: 0,
    posted: 0,
    skipped: 0,
    overReported: 0,
    crashes: 0,
    failOvers: 0,
    jumps: 0,
    faults: 0,
    repeats: 0,
  };
  readonly ledger = new EventLedger();
  readonly #options: SimOptions;
  readonly #judge: CronJudge;
  /** All versions of the cron; the last is what the API server has. */
  readonly #versions: ArgusCron[];
  #session: ArgusSession | undefined = sessionObject();
  #wallMs: number;
  /** By how much jumps have moved the wall clock. */
  #jumpedMs = 0;
  #calm = false;
  #replica: Replica;
  #paused: { resume: () => void; ended: Promise<unknown> } | undefined;

  constructor(options: SimOptions) {
    this.#options = options;
    this.#wallMs = options.fromMs;
    this.#versions = [cronObject(options)];
    this.#judge = new CronJudge(options, this.ledger, this.counts);
    this.#replica = new Replica(this);
  }

  get random(): () => number {
    return this.#options.random;
  }

  get wallMs(): number {
    return this.#wallMs;
  }

  get monotonicMs(): number {
    return this.#wallMs - this.#jumpedMs;
  }

  get newest(): ArgusCron {
    return this.#versions.at(-1) as ArgusCron;
  }

  get session(): ArgusSession | undefined {
    return this.#session;
  }

  version(index: number): ArgusCron {
    return this.#versions[Math.min(index, this.#versions.length - 1)] as ArgusCron;
  }

  get lastIndex(): number {
    return this.#versions.length - 1;
  }

  chance(share: number): boolean {
    return !this.#calm && this.#options.random() < share;
  }

  /** To the end of the window, then in calm weather until nothing is left to do. */
  async run(): Promise<SimCounts> {
    while (this.#wallMs < this.#options.untilMs) await this.#step();
    this.#calm = true;
    await this.#resume();
    if (this.newest.spec.suspend) this.#edit((spec) => ({ ...spec, suspend: false }));
    this.#session = sessionObject();
    this.ledger.active.clear();
    for (let pass = 0; pass < 8; pass += 1) {
      this.#replica.catchUp();
      this.#judge.disturbed = true;
      this.#wallMs += LONGEST_RETRY_MS;
      await this.#pass();
    }
    this.#judge.finish(this.newest, this.#wallMs);
    return this.counts;
  }

  async #step(): Promise<void> {
    this.#disturb();
    const replica = this.#replica;
    const waitMs = Math.min(Math.max(0, replica.nextMs(this.#wallMs)), MAX_WAIT_MS);
    this.#wallMs += waitMs + Math.floor(this.#options.random() * 400);
    if (this.chance(CHANCE.outage)) {
      this.#judge.disturbed = true;
      this.#wallMs += Math.floor(this.#options.random() * HOUR_MS * 2);
    }
    // No cache is late for long.
    if (waitMs > MAX_LAG_MS || !this.chance(CHANCE.lag)) replica.catchUp();
    await this.#pass();
    if (this.chance(CHANCE.extraPass)) await this.#pass();
    if (this.#paused && this.#options.random() < 0.2) await this.#resume();
  }

  /** One reconcile; it may end in the death of its replica, or stand still in the middle while a successor takes over. */
  async #pass(): Promise<void> {
    const replica = this.#replica;
    const { promise: stopped, resolve: stop } = Promise.withResolvers<"paused">();
    replica.onPause = () => stop("paused");
    const ended = replica.reconcile();
    const how = await Promise.race([ended, stopped]);
    if (how === "paused") {
      this.#paused = { resume: replica.resume, ended };
      this.#succeed();
    } else if (how === "crashed") {
      this.counts.crashes += 1;
      this.#succeed();
    }
  }

  async #resume(): Promise<void> {
    const paused = this.#paused;
    this.#paused = undefined;
    paused?.resume();
    await paused?.ended;
  }

  #succeed(): void {
    this.counts.failOvers += 1;
    this.#judge.disturbed = true;
    this.#replica = new Replica(this);
  }

  /** What people and machines do to a schedule meanwhile. */
  #disturb(): void {
    const { random, schedules } = this.#options;
    if (this.chance(CHANCE.jump)) {
      this.counts.jumps += 1;
      const jumpMs = random() < 0.5 ? HOUR_MS : -HOUR_MS;
      this.#jumpedMs += jumpMs;
      this.#wallMs += jumpMs;
      this.#judge.disturbed = true;
      this.#replica.catchUp();
    }
    if (this.chance(CHANCE.edit)) {
      const schedule = schedules[Math.floor(random() * schedules.length)] ?? "";
      this.#edit((spec) => ({ ...spec, schedule }));
    }
    if (this.chance(CHANCE.suspend)) this.#edit((spec) => ({ ...spec, suspend: !spec.suspend }));
    // Nobody leaves it suspended, or without a session, for long.
    if (this.newest.spec.suspend && random() < 0.1) {
      this.#edit((spec) => ({ ...spec, suspend: false }));
    }
    if (this.chance(CHANCE.session)) {
      this.#session = undefined;
      this.#judge.disturbed = true;
    }
    if (!this.#session && random() < 0.2) this.#session = sessionObject();
    const uid = this.newest.metadata.uid ?? "";
    if (this.chance(CHANCE.active)) this.ledger.active.add(uid);
    else this.ledger.active.delete(uid);
  }

  #edit(change: (spec: ArgusCron["spec"]) => ArgusCron["spec"]): void {
    this.#judge.disturbed = true;
    const { metadata, spec } = this.newest;
    this.#put({
      ...this.newest,
      metadata: { ...metadata, generation: (metadata.generation ?? 0) + 1 },
      spec: change(spec),
    });
  }

  #put(object: ArgusCron): ArgusCron {
    const resourceVersion = String(Number(object.metadata.resourceVersion) + 1);
    const next = { ...object, metadata: { ...object.metadata, resourceVersion } };
    this.#versions.push(next);
    return next;
  }

  /** The API server's side of a server-side apply with a version. */
  commitStatus(object: KubeObject & { status?: ArgusCronStatus }): ArgusCron {
    const { newest } = this;
    if (object.metadata.resourceVersion !== newest.metadata.resourceVersion) {
      throw new KubeError({ call: "apply", status: 409, answer: { reason: "Conflict" } });
    }
    const { status = {} } = object;
    const next = this.#put({ ...newest, status });
    this.#judge.judge(newest, next, this.#wallMs);
    return next;
  }

  /** The endpoint's side. */
  commitEvent(event: SlotEvent): PostResult {
    if (!this.#session) {
      return { state: "failed", problem: { reason: "SessionUnknownToGateway", message: "" } };
    }
    const answer = this.ledger.commit(event);
    if (answer.state === "duplicate") this.counts.repeats += 1;
    if (answer.state === "skipped") this.#judge.disturbed = true;
    this.#judge.queued(event, answer.state);
    return answer.state === "skipped"
      ? { state: "skipped", reason: answer.reason }
      : { state: answer.state };
  }

  /** This event may still come through when a successor has decided about its slot. */
  late(event: SlotEvent): void {
    this.#judge.late.add(event.key);
  }

  /**
   * This status may still come through while the successor, who does not see it yet, posts the slot that it gives up: nobody can
   * fence the two against each other. The slot runs once and is told as missed.
   */
  lateStatus({ metadata, status }: KubeObject & { status?: ArgusCronStatus }): void {
    const slotMs = Date.parse(status?.lastScheduleTime ?? "");
    this.#judge.late.add(slotKey(metadata.uid ?? this.newest.metadata.uid ?? "", slotMs));
  }

  fault(): void {
    this.counts.faults += 1;
    this.#judge.disturbed = true;
  }
}

interface Effect<T> {
  commit: () => T;
  /** What its maker sees when the answer is lost. */
  lost: () => T;
  /** Its maker stands still before it. */
  late: () => void;
}

/** A process with its caches, which dies at an effect or stands still there. */
class Replica {
  onPause = () => {};
  resume = () => {};
  readonly #sim: CronSim;
  readonly #reconciler: CronReconciler;
  #seen: number;
  #agendaMs: number | undefined;
  #requeueMs: number | undefined = 0;
  #isDead = false;

  constructor(sim: CronSim) {
    this.#sim = sim;
    this.#seen = sim.lastIndex;
    const clock = {
      now: () => sim.wallMs,
      monotonicMs: () => sim.monotonicMs,
      sleep: async () => {},
    };
    const fence: Fence = { check: () => {}, signal: new AbortController().signal };
    this.#reconciler = new CronReconciler({
      kube: this.#kube(),
      fence,
      crons: this.#crons(),
      sessions: this.#sessions(),
      post: (event) => this.#post(event),
      agenda: {
        set: (_, atMs) => {
          this.#agendaMs = atMs;
        },
        delete: () => {
          this.#agendaMs = undefined;
        },
      },
      written: new Written(clock),
      events: { record: () => {} },
      metrics: { posted: () => {}, skipped: () => {} },
      clock,
      random: sim.random,
    });
  }

  catchUp(): void {
    this.#seen = this.#sim.lastIndex;
  }

  /** How long until there is something to do: a slot, a retry, a change that the cache shows late. */
  nextMs(wallMs: number): number {
    const times = [
      this.#agendaMs === undefined ? 60_000 : this.#agendaMs - wallMs,
      this.#requeueMs ?? Number.POSITIVE_INFINITY,
    ];
    return Math.min(...times);
  }

  async reconcile(): Promise<"ended" | "crashed"> {
    try {
      const outcome = await this.#reconciler.reconcile(KEY);
      this.#requeueMs = "requeueAfterMs" in outcome ? outcome.requeueAfterMs : undefined;
    } catch (error) {
      if (error instanceof Crash) return "crashed";
      if (!(error instanceof KubeError)) throw error;
      this.#requeueMs = 1000;
    }
    return "ended";
  }

  /** Makes one effect, with what may go wrong before and after it. */
  async #effect<T>({ commit, lost, late }: Effect<T>): Promise<T> {
    const sim = this.#sim;
    if (this.#isDead || sim.chance(CHANCE.crashBefore)) this.#die();
    if (sim.chance(CHANCE.pause)) {
      late();
      await this.#pause();
    }
    const made = commit();
    if (sim.chance(CHANCE.crashAfter)) this.#die();
    if (!sim.chance(CHANCE.lostAnswer)) return made;
    sim.fault();
    return lost();
  }

  async #post(event: SlotEvent): Promise<PostResult> {
    const failed = (reason: string): PostResult => ({
      state: "failed",
      problem: { reason, message: reason },
      ...(reason === "GatewayBusy" ? { retryAfterMs: 5000 } : {}),
    });
    if (this.#sim.chance(CHANCE.refused)) {
      this.#sim.fault();
      return failed(this.#sim.chance(0.5) ? "GatewayBusy" : "GatewayTooOld");
    }
    return await this.#effect({
      commit: () => this.#sim.commitEvent(event),
      lost: () => failed("GatewayUnavailable"),
      late: () => this.#sim.late(event),
    });
  }

  #kube(): KubeClient {
    const kube = {
      applyStatus: async (_: unknown, object: KubeObject) => {
        if (this.#sim.chance(CHANCE.refused)) {
          this.#sim.fault();
          throw new KubeError({ call: "apply", status: this.#sim.chance(0.5) ? 429 : 500 });
        }
        return await this.#effect<ArgusCron>({
          commit: () => this.#sim.commitStatus(object),
          lost: () => {
            throw new KubeError({ call: "apply", status: 0 });
          },
          late: () => this.#sim.lateStatus(object),
        });
      },
      get: async () => this.#sim.session,
    };
    return kube as unknown as KubeClient;
  }

  #crons(): Informer<ArgusCron> {
    const cache = {
      get: () => this.#sim.version(this.#seen),
      version: () => this.#sim.version(this.#seen).metadata.resourceVersion,
    };
    return cache as unknown as Informer<ArgusCron>;
  }

  /** A cache that is sometimes late, in both directions. */
  #sessions(): Informer<ArgusSession> {
    const sim = this.#sim;
    const cache = {
      get: () => (sim.chance(0.01) ? (sim.session ? undefined : sessionObject()) : sim.session),
    };
    return cache as unknown as Informer<ArgusSession>;
  }

  /** While it stands still a successor leads; of all it does afterwards only this one effect may get through. */
  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.resume = resolve;
    this.onPause();
    await promise;
    this.#isDead = true;
  }

  #die(): never {
    this.#isDead = true;
    throw new Crash();
  }
}

function cronObject({ timeZone, schedules, fromMs, random }: SimOptions): ArgusCron {
  const policy = random();
  return {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusCron",
    metadata: {
      name: "cron",
      namespace: NAMESPACE,
      uid: "11111111-2222-3333-4444-555555555555",
      resourceVersion: "1",
      generation: 1,
      creationTimestamp: new Date(fromMs).toISOString().replace(/\.\d+Z$/, "Z"),
    },
    spec: {
      schedule: schedules[0] ?? "",
      timeZone,
      suspend: false,
      ...(random() < 0.4 ? { startingDeadlineSeconds: 10 + Math.floor(random() * 600) } : {}),
      concurrencyPolicy: policy < 0.3 ? "Forbid" : policy < 0.5 ? "Replace" : "Allow",
      sessionRef: { name: "main" },
      event: { text: "tick" },
    },
  };
}

function sessionObject(): ArgusSession {
  return { metadata: { name: "main", namespace: NAMESPACE } } as ArgusSession;
}
