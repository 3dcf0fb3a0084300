import { rm } from "node:fs/promises";
import { isConflict, isNotFound } from "#cluster/kube-error.ts";
import { objectPath, pods } from "#cluster/resources.ts";
import { backoffMs } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import { endProcessTree } from "#lib/process-record.ts";
import { POD_MARK } from "./container-plan.ts";
import type { KubeletContext } from "./context.ts";
import type { Pod } from "./pod.ts";
import type { ContainerRecord } from "./status.ts";
import { Wake } from "./wake.ts";

const RETRY = { baseMs: 500, maxMs: 30_000 };

export interface EndingPod {
  pod: Pod;
  folder: string;
  /** The object is gone already. */
  objectGone: boolean;
}

/** Ends what may be left of a pod, removes its folders, then the object. Tried until it holds or the signal aborts. */
export async function removePod(
  context: KubeletContext,
  { pod, folder, objectGone }: EndingPod,
  signal: AbortSignal,
): Promise<void> {
  const { uid = "" } = pod.metadata;
  for (let tries = 0; !signal.aborted; tries += 1) {
    try {
      await endProcessTree({ roots: [], mark: { name: POD_MARK, value: uid }, graceMs: 0 });
      await rm(folder, { recursive: true, force: true });
      await context.logs.remove(uid);
      await context.runs.forget(context.runs.ofPod(uid));
      context.addresses.release(uid);
      if (!objectGone) await deleteObject(context, pod);
      return;
    } catch (error) {
      const facts = { pod: pod.metadata.name, error: errorMessage(error) };
      context.logger.warn(facts, "pod not removed, trying again");
      await new Wake().wait(backoffMs(tries, RETRY), signal);
    }
  }
}

async function deleteObject({ kube }: KubeletContext, { metadata }: Pod): Promise<void> {
  const path = objectPath(pods, metadata.namespace ?? "default", metadata.name);
  const preconditions = { uid: metadata.uid };
  const body = { apiVersion: "v1", kind: "DeleteOptions", gracePeriodSeconds: 0, preconditions };
  try {
    const answer = await kube.request("DELETE", path, { body });
    await answer.body.dump();
  } catch (error) {
    // Gone, or another pod has the name by now.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

/**
 * Records of a pod whose kubelet stops: what would run again waits for the next start and did not crash. With the
 * policy Never an end is an end.
 */
export function parkRecords(pod: Pod, records: readonly ContainerRecord[]): void {
  for (const record of records) {
    record.ready = false;
    record.started = false;
    if (pod.spec.restartPolicy === "Never" || record.state.waiting) continue;
    if (pod.spec.restartPolicy === "OnFailure" && record.state.terminated?.exitCode === 0) continue;
    const message = "argus up was stopped; the container starts again with it";
    record.state = { waiting: { reason: "NodeShutdown", message } };
  }
}
