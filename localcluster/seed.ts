import type { Logger } from "#lib/logger.ts";
import type { WriteOptions } from "./admission.ts";
import type { Registry } from "./registry.ts";
import type { ObjectStore } from "./store.ts";
import type { ObjectWriter } from "./writes.ts";

const NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];
const ROOT_CA = "kube-root-ca.crt";

interface Seed {
  store: ObjectStore;
  registry: Registry;
  writer: ObjectWriter;
  caPem: string;
  logger: Logger;
}

/** Makes the namespaces that every cluster has, and what every namespace has: an account and the certificate. */
export function seedNamespaces(seed: Seed): void {
  const { store, logger } = seed;
  for (const name of NAMESPACES) {
    if (!store.get("/namespaces", undefined, name)) {
      make(seed, { plural: "namespaces", kind: "Namespace", name });
    }
  }
  for (const { metadata } of store.list("/namespaces")) furnish(seed, metadata.name);
  store.subscribe(({ type, storage, object }) => {
    if (storage !== "/namespaces" || type !== "ADDED") return;
    // Not inside the write that is being told: its answer comes first.
    setImmediate(() => {
      try {
        if (store.get("/namespaces", undefined, object.metadata.name))
          furnish(seed, object.metadata.name);
      } catch (error) {
        logger.error({ err: error }, "furnishing a namespace failed");
      }
    });
  });
}

function furnish(seed: Seed, namespace: string): void {
  if (!seed.store.get("/serviceaccounts", namespace, "default")) {
    make(seed, { plural: "serviceaccounts", kind: "ServiceAccount", name: "default", namespace });
  }
  const data = { "ca.crt": seed.caPem };
  if (!seed.store.get("/configmaps", namespace, ROOT_CA)) {
    make(seed, { plural: "configmaps", kind: "ConfigMap", name: ROOT_CA, namespace, data });
  }
}

interface Made {
  plural: string;
  kind: string;
  name: string;
  namespace?: string;
  data?: Record<string, string>;
}

function make({ registry, writer }: Seed, { plural, kind, name, namespace, data }: Made): void {
  const type = registry.find("", "v1", plural);
  if (!type) throw new Error(`no built-in ${plural}`);
  const options: WriteOptions = {
    dryRun: false,
    manager: "argus-local",
    force: false,
    fieldValidation: "Strict",
    warnings: [],
  };
  const body = { apiVersion: "v1", kind, metadata: { name }, ...(data && { data }) };
  writer.create({ type, namespace, name: "", subresource: "" }, body, options);
}
