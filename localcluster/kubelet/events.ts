import { createHash } from "node:crypto";
import { events } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { FIELD_MANAGER } from "./context.ts";
import { kubeTime, type Pod } from "./pod.ts";

export interface PodEvent {
  type: "Normal" | "Warning";
  reason: string;
  message: string;
  /** Concerns this container only. */
  container?: string;
}

/** Oldest counts are forgotten first; a forgotten event just begins again at 1. */
const MAX_COUNTS = 1000;
/** Events beyond these that wait to be written are dropped: they are hints, the status is the truth. */
const MAX_QUEUE = 200;

/** Writes Events for `kubectl describe`; equal ones are one object with a count. Never fails its caller. */
export class EventRecorder {
  readonly #kube: KubeClient;
  readonly #logger: Logger;
  readonly #counts = new Map<string, { count: number; first: string }>();
  #queued = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(kube: KubeClient, logger: Logger) {
    this.#kube = kube;
    this.#logger = logger;
  }

  record(pod: Pod, event: PodEvent): void {
    if (this.#queued >= MAX_QUEUE) return;
    this.#queued += 1;
    this.#writing = this.#writing.then(() => this.#write(pod, event));
  }

  /** Resolves when all events recorded so far are written or given up. */
  flush(): Promise<void> {
    return this.#writing;
  }

  async #write(pod: Pod, event: PodEvent): Promise<void> {
    this.#queued -= 1;
    try {
      await this.#kube.apply(events, this.#object(pod, event), {
        fieldManager: FIELD_MANAGER,
        force: true,
      });
    } catch (error) {
      const facts = { pod: pod.metadata.name, reason: event.reason, error: errorMessage(error) };
      this.#logger.warn(facts, "event not written");
    }
  }

  #object(pod: Pod, { type, reason, message, container }: PodEvent): KubeObject {
    const { name, namespace = "default", uid = "" } = pod.metadata;
    const hash = createHash("sha256").update(`${uid}/${container}/${reason}/${message}`);
    const eventName = `${name}.${hash.digest("hex").slice(0, 16)}`;
    const now = kubeTime(Date.now());
    const { count, first } = this.#count(`${namespace}/${eventName}`, now);
    const object = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: eventName, namespace },
      involvedObject: {
        apiVersion: "v1",
        kind: "Pod",
        name,
        namespace,
        uid,
        ...(container && { fieldPath: `spec.containers{${container}}` }),
      },
      type,
      reason,
      message: message.slice(0, 1024),
      source: { component: FIELD_MANAGER },
      firstTimestamp: first,
      lastTimestamp: now,
      count,
    };
    return object;
  }

  #count(key: string, now: string): { count: number; first: string } {
    const old = this.#counts.get(key);
    const next = { count: (old?.count ?? 0) + 1, first: old?.first ?? now };
    this.#counts.delete(key);
    this.#counts.set(key, next);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size > MAX_COUNTS && oldest !== undefined) this.#counts.delete(oldest);
    return next;
  }
}
