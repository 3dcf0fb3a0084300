import { isNotFound } from "#cluster/kube-error.ts";
import { pods } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import { backoffMs } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import { FIELD_MANAGER, type KubeletContext } from "./context.ts";
import type { Pod, PodStatus } from "./pod.ts";
import { Wake } from "./wake.ts";

const RETRY = { baseMs: 500, maxMs: 30_000 };

/** Writes one pod's status whenever it differs from the last one written; what changes meanwhile goes in the next write. */
export class StatusWriter {
  readonly #context: KubeletContext;
  readonly #pod: Pod;
  readonly #compute: (before: PodStatus | undefined) => PodStatus;
  readonly #wake = new Wake();
  #status: PodStatus | undefined;
  #written = "";
  #dirty = false;

  /** `compute` gets the status written last, whose transition times it keeps. */
  constructor(
    context: KubeletContext,
    pod: Pod,
    compute: (before: PodStatus | undefined) => PodStatus,
  ) {
    this.#context = context;
    this.#pod = pod;
    this.#compute = compute;
    this.#status = pod.status;
  }

  changed(): void {
    this.#dirty = true;
    this.#wake.fire();
  }

  /** Writes until the signal aborts or the pod is gone. */
  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      if (!this.#dirty) await this.#wake.wait(Number.POSITIVE_INFINITY, signal);
      if (signal.aborted) return;
      try {
        await this.flush();
        failures = 0;
      } catch (error) {
        if (isNotFound(error)) return;
        this.#dirty = true;
        const facts = { pod: this.#pod.metadata.name, error: errorMessage(error) };
        this.#context.logger.warn(facts, "pod status not written, trying again");
        await new Wake().wait(backoffMs(failures, RETRY), signal);
        failures += 1;
      }
    }
  }

  /** One write, if anything differs. Ended runs go off the record after it. */
  async flush(): Promise<void> {
    const { kube, runs } = this.#context;
    const { name, namespace = "default", uid = "" } = this.#pod.metadata;
    this.#dirty = false;
    const ended = runs.ended(uid);
    const status = this.#compute(this.#status);
    const text = JSON.stringify(status);
    if (text !== this.#written) {
      const metadata = { name, namespace, uid };
      const object: KubeObject & { status: PodStatus } = {
        apiVersion: "v1",
        kind: "Pod",
        metadata,
        status,
      };
      await kube.applyStatus(pods, object, { fieldManager: FIELD_MANAGER, force: true });
      this.#status = status;
      this.#written = text;
    }
    await runs.forget(ended);
  }
}
