import { chmod, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { createKubeClient } from "#cluster/client.ts";
import { startInformer } from "#cluster/informer.ts";
import { isNotFound } from "#cluster/kube-error.ts";
import { persistentVolumeClaims } from "#cluster/resources.ts";
import type { KubeObject, Resource } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";

/**
 * Makes the volumes of the test cluster's StorageClass: for each claim that the scheduler gave a node, a folder and a `local`
 * volume, which unlike a hostPath honours fsGroup. Arguments: kubeconfig, folder of the volumes. Runs until it is killed.
 */
const PROVISIONER = "argus.dev/local";
const SELECTED_NODE = "volume.kubernetes.io/selected-node";
const PROVISIONED_BY = "pv.kubernetes.io/provisioned-by";

const persistentVolumes: Resource = {
  group: "",
  version: "v1",
  plural: "persistentvolumes",
  kind: "PersistentVolume",
};

interface Claim extends KubeObject {
  spec: {
    accessModes: string[];
    resources: { requests: { storage: string } };
    storageClassName?: string;
    volumeMode?: string;
    volumeName?: string;
  };
}

interface Volume extends KubeObject {
  spec?: { persistentVolumeReclaimPolicy?: string };
  status?: { phase?: string };
}

const [kubeconfig = "", volumes = ""] = process.argv.slice(2);
const logger = silentLogger();
const kube = await createKubeClient({ kubeconfig, logger });
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());

function volumeOf(claim: Claim, name: string, node: string): object {
  const { namespace, uid, name: claimName } = claim.metadata;
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name, annotations: { [PROVISIONED_BY]: PROVISIONER } },
    spec: {
      capacity: claim.spec.resources.requests,
      accessModes: claim.spec.accessModes,
      persistentVolumeReclaimPolicy: "Delete",
      storageClassName: claim.spec.storageClassName,
      claimRef: {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        namespace,
        name: claimName,
        uid,
      },
      local: { path: join(volumes, name) },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            {
              matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [node] }],
            },
          ],
        },
      },
    },
  };
}

async function provision(claim: Claim): Promise<void> {
  const { annotations = {}, uid } = claim.metadata;
  const node = annotations[SELECTED_NODE];
  if (annotations["volume.kubernetes.io/storage-provisioner"] !== PROVISIONER) return;
  if (!node || claim.spec.volumeName) return;
  const name = `pvc-${uid}`;
  await mkdir(join(volumes, name), { recursive: true });
  // A pod's user enters by its group; the folders above are closed to everybody.
  await chmod(join(volumes, name), 0o770);
  const path = "/api/v1/persistentvolumes";
  const answer = await kube.request("POST", path, { body: volumeOf(claim, name, node) });
  await answer.body.dump();
  console.log(new Date().toISOString(), "made", name, answer.status);
}

async function reclaim(volume: Volume): Promise<void> {
  const { name, annotations = {} } = volume.metadata;
  if (annotations[PROVISIONED_BY] !== PROVISIONER || volume.status?.phase !== "Released") return;
  if (volume.spec?.persistentVolumeReclaimPolicy !== "Delete") return;
  await rm(join(volumes, name), { recursive: true, force: true });
  try {
    await kube.delete({ resource: persistentVolumes, namespace: "", name });
  } catch (error) {
    // Its end is announced once more while a finalizer holds it.
    if (!isNotFound(error)) throw error;
  }
  console.log(new Date().toISOString(), "removed", name);
}

/** It is started again, and then looks at everything again. */
const report = (error: unknown): void => {
  console.error(new Date().toISOString(), error);
  process.exit(1);
};
const claims = startInformer<Claim>(kube, persistentVolumeClaims, { logger }, stopping.signal);
const made = startInformer<Volume>(kube, persistentVolumes, { logger }, stopping.signal);
claims.onChange((_key, claim, change) => {
  if (change !== "deleted") provision(claim).catch(report);
});
made.onChange((_key, volume, change) => {
  if (change !== "deleted") reclaim(volume).catch(report);
});
await Promise.all([claims.closed, made.closed]);
