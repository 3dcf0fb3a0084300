import type { Pod } from "#cluster/core-types.ts";
import { LABEL } from "#protocol/pod.ts";

/** The parts of a pod that decisions rest on: thousands of pods are held in memory. */
export function leanPod({ apiVersion, kind, metadata, spec, status }: Pod): Pod {
  const { managedFields: _, annotations = {}, ...rest } = metadata;
  const kept = [LABEL.specHash, LABEL.podHash, LABEL.sessionName].filter(
    (name) => name in annotations,
  );
  return {
    ...(apiVersion ? { apiVersion } : {}),
    ...(kind ? { kind } : {}),
    metadata: {
      ...rest,
      annotations: Object.fromEntries(kept.map((name) => [name, annotations[name] ?? ""])),
    },
    spec: {
      ...(spec.nodeName ? { nodeName: spec.nodeName } : {}),
      ...(spec.restartPolicy ? { restartPolicy: spec.restartPolicy } : {}),
      containers: spec.containers.map(({ name, image, ports }) => ({
        name,
        ...(image ? { image } : {}),
        ...(ports ? { ports } : {}),
      })),
    },
    ...(status ? { status } : {}),
  };
}
