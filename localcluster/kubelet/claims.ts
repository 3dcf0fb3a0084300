import { rm } from "node:fs/promises";
import { join } from "node:path";
import { persistentVolumeClaims } from "#cluster/resources.ts";
import type { Informer, KubeClient, KubeObject } from "#cluster/types.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Pod } from "./pod.ts";
import { Wake } from "./wake.ts";

export type Claim = KubeObject;

/** Keeps a deleted claim until no pod uses it and its folder is gone; the name that Kubernetes itself uses. */
const FINALIZER = "kubernetes.io/pvc-protection";
const RETRY_MS = 5000;

export interface ClaimOptions {
  kube: KubeClient;
  folder: string;
  claims: Informer<Claim>;
  pods: Informer<Pod>;
  logger: Logger;
}

/** Gives each claim a folder and takes it away with the claim, never before. */
export class ClaimKeeper {
  readonly #options: ClaimOptions;
  readonly #wake = new Wake();
  #dirty = true;

  constructor(options: ClaimOptions) {
    this.#options = options;
  }

  /** Where a claim's files are. */
  folderOf(claim: Claim): string {
    const { namespace = "default", uid = "" } = claim.metadata;
    return join(this.#options.folder, namespace, uid);
  }

  /** Something changed that may matter to a claim. */
  look(): void {
    this.#dirty = true;
    this.#wake.fire();
  }

  /** Works until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#dirty = false;
      const failed = await this.#settleAll();
      if (!this.#dirty) await this.#wake.wait(failed ? RETRY_MS : 10 * 60_000, signal);
    }
  }

  async #settleAll(): Promise<boolean> {
    let failed = false;
    for (const claim of this.#options.claims.list()) {
      try {
        await this.#settle(claim);
      } catch (error) {
        failed = true;
        const { name, namespace } = claim.metadata;
        const facts = { claim: name, namespace, error: errorMessage(error) };
        this.#options.logger.warn(facts, "claim not settled, trying again");
      }
    }
    return failed;
  }

  async #settle(claim: Claim): Promise<void> {
    const { name, namespace = "default", finalizers = [], deletionTimestamp } = claim.metadata;
    const ref = { resource: persistentVolumeClaims, namespace, name };
    const place = finalizers.indexOf(FINALIZER);
    if (deletionTimestamp) {
      if (place < 0 || this.#inUse(claim)) return;
      await rm(this.folderOf(claim), { recursive: true, force: true });
      const path = `/metadata/finalizers/${place}`;
      await this.#options.kube.jsonPatch(ref, [
        { op: "test", path, value: FINALIZER },
        { op: "remove", path },
      ]);
      return;
    }
    if (place < 0) {
      const value = [...finalizers, FINALIZER];
      await this.#options.kube.jsonPatch(ref, [
        { op: "test", path: "/metadata/uid", value: claim.metadata.uid },
        { op: "add", path: "/metadata/finalizers", value },
      ]);
    }
  }

  #inUse({ metadata }: Claim): boolean {
    return this.#options.pods
      .list()
      .some(
        (pod) =>
          pod.metadata.namespace === metadata.namespace &&
          pod.spec.volumes?.some(
            ({ persistentVolumeClaim: claim }) => claim?.claimName === metadata.name,
          ),
      );
  }
}
