import { get } from "node:http";
import { isDeepStrictEqual } from "node:util";
import type { Pod } from "#cluster/core-types.ts";
import { keyOf } from "#cluster/objects.ts";
import { type Clock, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { remember } from "#lib/remember.ts";
import { BridgeStatus } from "#protocol/bridge.ts";
import { POD } from "#protocol/pod.ts";
import { isAgentRunning, isPodReady } from "./pod-state.ts";

export interface BridgeReaderOptions {
  logger: Logger;
  clock?: Clock;
  /** Called when a bridge says something else than before, with the pod that it runs in. */
  onChange: (pod: Pod) => void;
}

interface Reading {
  atMs: number;
  ready: boolean;
  busy: boolean;
  status?: BridgeStatus;
}

export const READ_INTERVAL_MS = 30_000;
/** While the bridge starts, its state is worth more and changes sooner. */
const STARTING_INTERVAL_MS = 3000;
const TIMEOUT_MS = 2000;
const MAX_BYTES = 64 * 1024;
/** Pods that are remembered; the longest unread one is forgotten. */
const MAX_PODS = 20_000;
const MAX_READS = 64;

/**
 * What bridges say of themselves on their probe ports. Reading happens aside, so that a silent bridge delays nothing;
 * `status` answers from memory and starts a reading when one is due. Untrusted: bounded in bytes and time, checked by schema.
 */
export class BridgeReader {
  readonly #options: BridgeReaderOptions;
  readonly #clock: Clock;
  readonly #readings = new Map<string, Reading>();
  /** Pods whose reading is due and waits for its turn. */
  readonly #waiting = new Map<string, Pod>();
  #active = 0;

  constructor(options: BridgeReaderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  status(pod: Pod): BridgeStatus | undefined {
    const uid = pod.metadata.uid ?? "";
    if (!isAgentRunning(pod)) {
      this.#readings.delete(uid);
      this.#waiting.delete(uid);
      return undefined;
    }
    const reading = this.#readings.get(uid);
    if (this.#isDue(pod, reading)) this.#wait(uid, pod);
    return reading?.status;
  }

  /** When the pod should be looked at again. */
  nextMs(pod: Pod): number {
    return isPodReady(pod) ? READ_INTERVAL_MS : STARTING_INTERVAL_MS;
  }

  #isDue(pod: Pod, reading: Reading | undefined): boolean {
    if (!pod.status?.podIP || reading?.busy) return false;
    if (!reading || reading.ready !== isPodReady(pod)) return true;
    // A little early is better than a whole interval late.
    return this.#clock.monotonicMs() - reading.atMs >= this.nextMs(pod) * 0.9;
  }

  /** After a restart all pods are due at once: none of them may wait for its next look. */
  #wait(uid: string, pod: Pod): void {
    if (this.#waiting.size < MAX_PODS || this.#waiting.has(uid)) this.#waiting.set(uid, pod);
    this.#beginNext();
  }

  #beginNext(): void {
    for (const [uid, pod] of this.#waiting) {
      if (this.#active >= MAX_READS) return;
      this.#waiting.delete(uid);
      this.#begin(uid, pod);
    }
  }

  #begin(uid: string, pod: Pod): void {
    const old = this.#readings.get(uid);
    const reading = { ...old, atMs: this.#clock.monotonicMs(), ready: isPodReady(pod), busy: true };
    remember(this.#readings, uid, reading, MAX_PODS);
    this.#active += 1;
    void this.#read(pod, reading).finally(() => {
      this.#active -= 1;
      reading.busy = false;
      this.#beginNext();
    });
  }

  async #read(pod: Pod, reading: Reading): Promise<void> {
    const port = probePort(pod);
    try {
      const text = await fetchBounded({ host: pod.status?.podIP ?? "", port, path: "/status" });
      const status = BridgeStatus.parse(JSON.parse(text));
      const before = reading.status;
      reading.status = status;
      if (!isDeepStrictEqual(essence(before), essence(status))) this.#options.onChange(pod);
    } catch (error) {
      const fields = { pod: keyOf(pod), error: errorMessage(error).slice(0, 512) };
      this.#options.logger.debug(fields, "bridge status not read");
    }
  }
}

/** Counters move all the time and show in no condition. */
function essence(status: BridgeStatus | undefined): unknown {
  if (!status) return undefined;
  const { seq: _, peers: __, garbageLines: ___, busyThreads: ____, ...rest } = status;
  return rest;
}

function probePort({ spec }: Pod): number {
  const agent = spec.containers.find(({ name }) => name === POD.container);
  const named = agent?.ports?.find(({ name }) => name === POD.ports.probe.name);
  return named?.containerPort ?? POD.ports.probe.number;
}

/** Body of a 200 answer of at most 64 KiB within 2 s. */
function fetchBounded(target: { host: string; port: number; path: string }): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const request = get({ ...target, signal, agent: false }, (response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_BYTES) chunks.push(chunk);
      else request.destroy(new ArgusError("TooLarge", "the bridge's status is above 64 KiB"));
    });
    response.on("error", reject);
    response.on("end", () => {
      if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString("utf8"));
      else reject(new ArgusError("Unavailable", `the bridge answered ${response.statusCode}`));
    });
  });
  request.on("error", reject);
  return promise;
}
