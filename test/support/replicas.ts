import { startElection, type Term } from "#cluster/leader-election.ts";
import { configMaps, leases } from "#cluster/resources.ts";
import type { Fence, KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import type { Clock } from "#lib/clock.ts";
import { silentLogger } from "#lib/logger.ts";
import { FakeKube } from "../fakes/kube.ts";
import type { ManualClock } from "./manual-clock.ts";

/** A repeatable sequence of numbers from 0 to 1. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A write that took effect, by the true time. */
export interface Effect {
  replica: string;
  atMs: number;
  /** Whether it took or renewed the Lease. */
  lease: boolean;
}

export interface ReplicaOptions {
  name: string;
  /** True time; nobody but the test knows it. */
  world: ManualClock;
  /** This replica's clock runs that many times as fast. */
  rate: number;
  random: () => number;
  api: FakeKube;
  effects: Effect[];
  /** false = the writes of a term are not fenced. */
  fenced: boolean;
}

const WRITES_OF_ONE_RECONCILE = 5;

/** One replica that writes all the time while it leads, with a clock of its own, that can be stopped in the middle of anything. */
export class Replica {
  readonly #options: ReplicaOptions;
  #awake: Promise<void> = Promise.resolve();
  /** No call comes through in either direction. */
  cutOff = false;

  constructor(options: ReplicaOptions, signal: AbortSignal) {
    this.#options = options;
    const { name, random } = options;
    const clock = this.#clock();
    const election = startElection(
      {
        kube: this.#client(),
        namespace: "default",
        name: "lease",
        identity: name,
        logger: silentLogger(),
        clock,
        monotonicMs: () => clock.now(),
        random,
      },
      (term) => this.#lead(term),
      signal,
    );
    election.closed.catch(() => undefined);
  }

  /** Stops the whole process for a time. */
  stop(ms: number): void {
    this.#awake = this.#options.world.sleep(ms);
  }

  /** Looks at the term between reconciles only, as a worker does. */
  async #lead({ kube, signal }: Term): Promise<void> {
    while (!signal.aborted) {
      try {
        for (let i = 0; i < WRITES_OF_ONE_RECONCILE; i += 1) {
          await kube.create(configMaps, this.#object());
        }
      } catch {
        await this.#clock().sleep(500);
      }
    }
  }

  #object(): KubeObject {
    const name = `${this.#options.name}-${this.#options.random()}`;
    return { metadata: { name, namespace: "default" } };
  }

  #clock(): Clock {
    const { world, rate } = this.#options;
    return {
      now: () => world.now() * rate,
      monotonicMs: () => world.monotonicMs() * rate,
      sleep: async (ms, signal) => {
        await world.sleep(ms / rate, signal);
        await this.#running();
      },
    };
  }

  /** Resolves while the process is not stopped; it may be stopped again while it waits. */
  async #running(): Promise<void> {
    for (let seen: unknown; seen !== this.#awake; ) {
      seen = this.#awake;
      await this.#awake;
    }
  }

  #client(fence?: Fence): KubeClient {
    const { api, fenced } = this.#options;
    const write = (call: () => Promise<unknown>, resource: Resource) =>
      this.#call(async () => {
        const answer = await call();
        this.#took(resource === leases);
        return answer;
      }, fence);
    return {
      get: (ref: Parameters<KubeClient["get"]>[0]) => this.#call(() => api.get(ref)),
      create: (resource: Resource, object: KubeObject) =>
        write(() => api.create(resource, object), resource),
      replace: (resource: Resource, object: KubeObject) =>
        write(() => api.replace(resource, object), resource),
      // A standby without a watch must do as well.
      list: () => Promise.reject(new Error("not here")),
      request: () => Promise.reject(new Error("not here")),
      fenced: (next: Fence) => this.#client(fenced ? next : undefined),
    } as unknown as KubeClient;
  }

  #took(lease: boolean): void {
    const { name, world, effects } = this.#options;
    effects.push({ replica: name, atMs: world.now(), lease });
  }

  /** A request is looked at by the fence, sent, takes effect and is answered; each way takes its time, whatever stops meanwhile. */
  async #call<T>(effect: () => Promise<T>, fence?: Fence): Promise<T> {
    const { world, random } = this.#options;
    await this.#running();
    fence?.check();
    const way = () => (random() < 0.02 ? random() * 20_000 : random() * 200);
    const answered = world.sleep(way()).then(async () => {
      if (this.cutOff) throw new Error("cut off");
      const answer = await effect();
      await world.sleep(way());
      return answer;
    });
    const aborted = fence ? rejection(fence.signal) : new Promise<never>(() => undefined);
    const answer = await Promise.race([answered, aborted]);
    await this.#running();
    return answer;
  }
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    else signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}
