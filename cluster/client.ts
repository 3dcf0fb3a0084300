import type { Logger } from "#lib/logger.ts";
import { type Call, Caller } from "./call.ts";
import { type ConnectionOptions, loadConnection } from "./connection.ts";
import { isNotFound } from "./kube-error.ts";
import { keyOf } from "./objects.ts";
import { collectionPath, objectPath } from "./resources.ts";
import type { ApplyOptions, KubeClient, KubeObject, ObjectRef, Resource } from "./types.ts";

const APPLY_PATCH = "application/apply-patch+yaml";
const JSON_PATCH = "application/json-patch+json";

export interface KubeClientOptions extends ConnectionOptions {
  logger: Logger;
}

/**
 * A client for the API server that `kubeconfig` (a path) names; `namespace` is its context's own.
 * Nothing is connected before the first call. Throws ArgusError `InvalidInput` when the configuration cannot be used.
 */
export async function createKubeClient(
  options: KubeClientOptions,
): Promise<KubeClient & { namespace: string }> {
  const connection = await loadConnection(options);
  const caller = new Caller(connection, options.logger);
  return { namespace: connection.namespace, ...clientOf(caller, () => connection.close()) };
}

function clientOf(caller: Caller, close: () => Promise<void>): KubeClient {
  return {
    ...reads(caller),
    ...writes(caller),
    request: (method, path, more = {}) =>
      caller.send({ ...more, method, path, label: `${method} ${path}` }),
    counts: () => caller.counts,
    multiplexes: () => caller.multiplexes,
    fenced: (fence) => clientOf(caller.fenced(fence), close),
    close,
  };
}

function reads(caller: Caller): Pick<KubeClient, "get" | "list"> {
  return {
    async get<T>(ref: ObjectRef) {
      try {
        return await caller.json<T>(onRef("GET", ref));
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
    async list<T>(resource: Resource, options = {}) {
      const { namespace, ...query } = options as { namespace?: string };
      const path = collectionPath(resource, namespace);
      const label = `list ${resource.plural}`;
      const list = await caller.json<ListBody<T>>({ method: "GET", path, query, label });
      const { resourceVersion = "", continue: next } = list.metadata ?? {};
      return { items: list.items ?? [], resourceVersion, ...(next ? { continue: next } : {}) };
    },
  };
}

interface ListBody<T> {
  items?: T[];
  metadata?: { resourceVersion?: string; continue?: string };
}

type Writes = "create" | "replace" | "apply" | "applyStatus" | "jsonPatch" | "delete";

function writes(caller: Caller): Pick<KubeClient, Writes> {
  return {
    create: (resource, object) =>
      caller.json({
        method: "POST",
        path: collectionPath(resource, object.metadata.namespace),
        label: `create ${resource.plural} ${keyOf(object)}`,
        body: object,
      }),
    replace: (resource, object) =>
      caller.json({ ...onObject("PUT", resource, object), body: object }),
    apply: (resource, object, options) => caller.json(applying(resource, object, options)),
    applyStatus: (resource, object, options) => {
      const call = applying(resource, object, options);
      return caller.json({ ...call, path: `${call.path}/status`, label: `${call.label} status` });
    },
    jsonPatch: (ref, patch) =>
      caller.json({ ...onRef("PATCH", ref), body: patch, contentType: JSON_PATCH }),
    async delete(ref, preconditions) {
      const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions };
      await caller.json({ ...onRef("DELETE", ref), ...(preconditions ? { body } : {}) });
    },
  };
}

function applying(resource: Resource, object: KubeObject, options: ApplyOptions): Call {
  return {
    ...onObject("PATCH", resource, object),
    body: object,
    contentType: APPLY_PATCH,
    query: { fieldManager: options.fieldManager, force: options.force },
  };
}

function onObject(method: string, resource: Resource, { metadata }: KubeObject): Call {
  return onRef(method, { resource, namespace: metadata.namespace ?? "", name: metadata.name });
}

const VERBS: Record<string, string> = {
  GET: "get",
  PUT: "replace",
  PATCH: "patch",
  DELETE: "delete",
};

function onRef(method: string, { resource, namespace, name }: ObjectRef): Call {
  return {
    method,
    path: objectPath(resource, namespace, name),
    label: `${VERBS[method]} ${resource.plural} ${namespace}/${name}`,
  };
}
