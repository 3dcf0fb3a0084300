import { isDeepStrictEqual } from "node:util";
import type { Clock } from "#lib/clock.ts";
import {
  admit,
  assignIdentity,
  bumpGeneration,
  checkIdentity,
  isolate,
  keepSystemFields,
  pruneUnknown,
  type WriteOptions,
  type WriteTarget,
} from "./admission.ts";
import { applyIntent, recordUpdate, type Writer } from "./apply.ts";
import { at, fieldsOf, isFields, type Metadata, type StoredObject, timestamp } from "./object.ts";
import { applyJsonPatch, mergePatch } from "./patch.ts";
import { apiVersionOf, type ResourceType } from "./resource-type.ts";
import { dropNulls } from "./schema.ts";
import {
  ApiError,
  alreadyExists,
  badRequest,
  forbidden,
  forbiddenField,
  invalid,
  invalidValue,
  notFound,
  required,
} from "./status.ts";
import type { ObjectStore } from "./store.ts";
import { strategicMerge } from "./strategic-merge.ts";

interface Change {
  current: StoredObject;
  given: StoredObject;
  /** By server-side apply: the owners are already recorded. */
  applied?: boolean;
}

export type PatchKind = "json" | "merge" | "strategic" | "apply";

/** Creates, replaces and patches. Each write runs to its end in one go, so nothing comes in between. */
export class ObjectWriter {
  readonly #store: ObjectStore;
  readonly #clock: Clock;

  constructor(store: ObjectStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  create(target: WriteTarget, body: unknown, options: WriteOptions): StoredObject {
    const object = objectOf(body, target.type);
    pruneUnknown(object, target.type, options);
    return this.#create(target, object, options, (made) =>
      recordUpdate({ live: undefined, next: made, ...this.#record(target, options) }),
    );
  }

  replace(target: WriteTarget, body: unknown, options: WriteOptions): StoredObject {
    const object = objectOf(body, target.type);
    pruneUnknown(object, target.type, options);
    checkIdentity(object, target);
    const current = this.#current(target);
    if (target.type.custom && !object.metadata.resourceVersion) {
      const why = "must be specified for an update";
      throw invalid(target.type, target.name, [invalidValue("metadata.resourceVersion", 0, why)]);
    }
    return this.#update(target, { current, given: object }, options);
  }

  /** Answers the object and whether it was made by this patch (apply only). */
  patch(
    target: WriteTarget,
    kind: PatchKind,
    body: unknown,
    options: WriteOptions,
  ): { object: StoredObject; created: boolean } {
    if (kind === "apply") return this.#apply(target, body, options);
    if (options.force) {
      const error = forbiddenField("force", "may not be specified for non-apply patch");
      throw invalid({ group: "meta.k8s.io", plural: "", kind: "PatchOptions" }, "", [error]);
    }
    const current = this.#current(target);
    const patched = objectOf(patchedBy(kind, current, body, target.type), target.type);
    pruneUnknown(patched, target.type, options, (detail) =>
      invalid(target.type, target.name, [invalidValue("patch", JSON.stringify(body), detail)]),
    );
    checkIdentity(patched, target);
    return { object: this.#update(target, { current, given: patched }, options), created: false };
  }

  #apply(target: WriteTarget, body: unknown, options: WriteOptions) {
    if (!options.manager) {
      const error = required("fieldManager", "is required for apply patch");
      throw invalid({ group: "meta.k8s.io", plural: "", kind: "PatchOptions" }, "", [error]);
    }
    const config = objectOf(body, target.type);
    if (config.metadata.managedFields?.length) {
      throw badRequest("metadata.managedFields must be nil");
    }
    config.metadata.name ??= target.name;
    checkIdentity(config, target);
    pruneUnknown(config, target.type, { ...options, fieldValidation: "Strict" }, (detail) =>
      undeclared(target, detail),
    );
    const current = this.#find(target);
    if (!current && (target.subresource || config.metadata.uid)) {
      throw notFound(target.type, target.name);
    }
    const intent = {
      config: intended(config, target),
      force: options.force,
      ...this.#record(target, options),
    };
    if (current) {
      const { resourceVersion, uid } = config.metadata;
      const next = structuredClone(applyIntent({ live: current, ...intent }));
      Object.assign(next.metadata, resourceVersion && { resourceVersion }, uid && { uid });
      return {
        object: this.#update(target, { current, given: next, applied: true }, options),
        created: false,
      };
    }
    const made = structuredClone(applyIntent({ live: undefined, ...intent }));
    const { managedFields } = made.metadata;
    const restore = (object: StoredObject) => withManaged(object, managedFields);
    return { object: this.#create(target, made, options, restore), created: true };
  }

  #create(
    target: WriteTarget,
    object: StoredObject,
    options: WriteOptions,
    record: (object: StoredObject) => StoredObject,
  ): StoredObject {
    const { type } = target;
    if (object.metadata.resourceVersion) {
      throw badRequest("resourceVersion should not be set on objects to be created");
    }
    checkIdentity(object, target);
    this.#checkNamespace(target, object.metadata.name);
    assignIdentity(object, this.#clock.now());
    if (type.hasStatus) delete object.status;
    admit(object, undefined, type);
    this.#checkServiceAccount(type, object);
    const { namespace, name } = object.metadata;
    if (this.#store.get(type.storage, namespace, name)) throw alreadyExists(type, name);
    bumpGeneration(object, undefined, type);
    return this.#save(type, record(object), options);
  }

  #update(
    target: WriteTarget,
    { current, given, applied = false }: Change,
    options: WriteOptions,
  ): StoredObject {
    const { type } = target;
    keepSystemFields(given, current, target);
    const next = structuredClone(isolate(given, current, target));
    admit(next, current, type);
    bumpGeneration(next, current, type);
    const record = this.#record(target, options);
    const recorded = applied ? next : recordUpdate({ live: current, next, ...record });
    if (isDeepStrictEqual(recorded, current)) return current;
    return this.#save(type, recorded, options);
  }

  #save(type: ResourceType, object: StoredObject, { dryRun }: WriteOptions): StoredObject {
    if (dryRun) return object;
    const stored = type.toStored?.(object) ?? object;
    const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata;
    const gone = deletionTimestamp && !deletionGracePeriodSeconds && !finalizers?.length;
    const saved = gone
      ? this.#store.remove(type.storage, stored)
      : this.#store.put(type.storage, stored);
    return type.fromStored?.(saved) ?? saved;
  }

  #find({ type, namespace, name }: WriteTarget): StoredObject | undefined {
    const stored = this.#store.get(type.storage, namespace, name);
    return stored && (type.fromStored?.(stored) ?? stored);
  }

  #current(target: WriteTarget): StoredObject {
    const current = this.#find(target);
    if (!current) throw notFound(target.type, target.name);
    return current;
  }

  #record({ type, subresource }: WriteTarget, { manager }: WriteOptions) {
    const time = timestamp(this.#clock.now());
    const writer: Writer = { manager, subresource, apiVersion: apiVersionOf(type), time };
    return { schema: type.schema, writer };
  }

  #checkNamespace({ type, namespace }: WriteTarget, name: string): void {
    if (!type.namespaced) return;
    const owner = this.#store.get("/namespaces", undefined, namespace ?? "");
    const target = { group: "", plural: "namespaces", kind: "Namespace" };
    if (!owner) throw notFound(target, namespace ?? "");
    if (!owner.metadata.deletionTimestamp) return;
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    throw forbidden(type, name, why);
  }

  #checkServiceAccount(type: ResourceType, object: StoredObject): void {
    if (type.storage !== "/pods") return;
    const { namespace, name } = object.metadata;
    const account = String(at(object, "spec", "serviceAccountName"));
    if (this.#store.get("/serviceaccounts", namespace, account)) return;
    const why = `error looking up service account ${namespace}/${account}: serviceaccount "${account}" not found`;
    throw forbidden(type, name, why);
  }
}

/** A copy of the body as an object of this type; kind and version may be left out, as real servers allow. */
function objectOf(body: unknown, type: ResourceType): StoredObject {
  if (!isFields(body)) throw badRequest("the body is not a JSON object");
  const { apiVersion = apiVersionOf(type), kind = type.kind, metadata } = structuredClone(body);
  if (metadata !== undefined && metadata !== null && !isFields(metadata)) {
    throw badRequest("metadata is not an object");
  }
  const meta = fieldsOf(structuredClone(metadata)) as unknown as Metadata;
  // Generated manifests carry `creationTimestamp: null`.
  dropNulls(meta);
  return {
    ...structuredClone(body),
    apiVersion: String(apiVersion),
    kind: String(kind),
    metadata: meta,
  };
}

function patchedBy(
  kind: PatchKind,
  current: StoredObject,
  body: unknown,
  type: ResourceType,
): unknown {
  if (kind === "json") return applyJsonPatch(current, body);
  if (!isFields(body)) throw badRequest("the patch is not a JSON object");
  return kind === "merge" ? mergePatch(current, body) : strategicMerge(current, body, type.schema);
}

/** What this subresource lets its applier own. */
function intended(config: StoredObject, { type, subresource }: WriteTarget): StoredObject {
  const { status, ...rest } = config;
  if (subresource === "status") {
    const { apiVersion, kind } = config;
    const { name, namespace } = config.metadata;
    const metadata: Metadata = { name, ...(namespace && { namespace }) };
    return { apiVersion, kind, metadata, ...(status !== undefined && { status }) };
  }
  return type.hasStatus ? { ...rest, metadata: config.metadata } : config;
}

function undeclared({ type, namespace, name }: WriteTarget, detail: string): ApiError {
  const fields = [...detail.matchAll(/"([^"]+)"/g)].map(
    ([, field]) => `.${field}: field not declared in schema`,
  );
  const subject = `${namespace ? `${namespace}/` : ""}${name}; ${apiVersionOf(type)}, Kind=${type.kind}`;
  const message = `failed to create typed patch object (${subject}): ${fields.join(", ")}`;
  return new ApiError(500, "", message);
}

const withManaged = (object: StoredObject, managedFields: unknown[] | undefined): StoredObject => ({
  ...object,
  metadata: { ...object.metadata, ...(managedFields && { managedFields }) },
});
