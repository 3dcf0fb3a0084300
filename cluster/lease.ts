import { isAlreadyExists, isConflict } from "./kube-error.ts";
import { leases } from "./resources.ts";
import type { KubeClient, KubeObject } from "./types.ts";

export interface Lease extends KubeObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

/** What one try gave. */
export interface Claim {
  held: boolean;
  /** Just before the request was sent that made or kept us the holder. */
  sinceMs: number;
  /** When the present holder has been silent for long enough. */
  freeInMs: number;
}

export interface LeaseHolderOptions {
  kube: KubeClient;
  namespace: string;
  name: string;
  identity: string;
  leaseMs: number;
  /** Milliseconds since the epoch, only for people who read the Lease. */
  now: () => number;
  /** What all waiting is measured by: holders' clocks are never compared with ours. */
  elapsedMs: () => number;
}

/** One replica's view of a Lease. Every write has the version that was read as its precondition. */
export class LeaseHolder {
  readonly #options: LeaseHolderOptions;
  #lease: Lease | undefined;
  /** When the Lease was first seen as it is now. */
  #seenMs = 0;

  constructor(options: LeaseHolderOptions) {
    this.#options = options;
  }

  /** Takes the Lease when it is free or ours. */
  async claim(): Promise<Claim> {
    const { leaseMs, elapsedMs } = this.#options;
    // Our own renewal needs no look first; if somebody wrote, it fails.
    if (!this.#isOurs()) await this.#read();
    const freeInMs = this.#freeInMs();
    if (freeInMs > 0) return { held: false, sinceMs: 0, freeInMs };
    const sinceMs = elapsedMs();
    if (await this.#swap()) return { held: true, sinceMs, freeInMs: 0 };
    await this.#read();
    // Our own write whose answer was lost looks like somebody else's: the next try is then free at once.
    return { held: false, sinceMs: 0, freeInMs: this.#isOurs() ? 0 : leaseMs };
  }

  #isOurs(): boolean {
    return this.#lease?.spec?.holderIdentity === this.#options.identity;
  }

  #freeInMs(): number {
    const { leaseMs, elapsedMs } = this.#options;
    const taken = this.#lease?.spec?.holderIdentity && !this.#isOurs();
    return taken ? this.#seenMs + leaseMs - elapsedMs() : 0;
  }

  /** False = somebody wrote since we read. */
  async #swap(): Promise<boolean> {
    try {
      this.#see(await this.#write(this.#claimed()));
      return true;
    } catch (error) {
      if (!isConflict(error) && !isAlreadyExists(error)) throw error;
      return false;
    }
  }

  /** Gives the Lease back, if it is still as we left it. */
  async release(): Promise<void> {
    const lease = this.#lease;
    if (lease?.spec?.holderIdentity !== this.#options.identity) return;
    const { holderIdentity: _, ...spec } = lease.spec;
    const free = { ...spec, leaseDurationSeconds: 1, renewTime: this.#time() };
    try {
      this.#see(await this.#write({ ...lease, spec: free }));
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }

  #claimed(): Lease {
    const { namespace, name, identity, leaseMs } = this.#options;
    const old = this.#lease?.spec;
    const ours = old?.holderIdentity === identity;
    const renewTime = this.#time();
    return {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: this.#lease?.metadata ?? { name, namespace },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: leaseMs / 1000,
        acquireTime: (ours ? old?.acquireTime : undefined) ?? renewTime,
        renewTime,
        leaseTransitions: (old?.leaseTransitions ?? 0) + (ours || !old ? 0 : 1),
      },
    };
  }

  async #write(lease: Lease): Promise<Lease> {
    const { kube } = this.#options;
    const exists = lease.metadata.resourceVersion !== undefined;
    return exists ? await kube.replace(leases, lease) : await kube.create(leases, lease);
  }

  async #read(): Promise<void> {
    const { kube, namespace, name } = this.#options;
    this.#see(await kube.get<Lease>({ resource: leases, namespace, name }));
  }

  #see(lease: Lease | undefined): void {
    const same =
      lease?.metadata.resourceVersion === this.#lease?.metadata.resourceVersion &&
      lease?.metadata.uid === this.#lease?.metadata.uid;
    if (!same) this.#seenMs = this.#options.elapsedMs();
    this.#lease = lease;
  }

  /** MicroTime: the API server wants exactly six digits. */
  #time(): string {
    return new Date(this.#options.now()).toISOString().replace("Z", "000Z");
  }
}
