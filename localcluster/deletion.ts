import type { Clock } from "#lib/clock.ts";
import type { WriteTarget } from "./admission.ts";
import { at, fieldsOf, type Metadata, type StoredObject, textOf, timestamp } from "./object.ts";
import { DEFINITIONS } from "./registry.ts";
import { ApiError, badRequest, notFound } from "./status.ts";
import type { ObjectStore } from "./store.ts";

export const ORPHAN = "orphan";
export const FOREGROUND = "foregroundDeletion";
export const INSTANCES = "customresourcecleanup.apiextensions.k8s.io";

const POLICIES = ["Background", "Foreground", "Orphan"];

export interface DeleteOptions {
  dryRun: boolean;
  /** Seconds; pods only. Absent = the pod's own. */
  gracePeriodSeconds?: number;
  propagationPolicy: string;
  uid?: string;
  resourceVersion?: string;
}

/** DeleteOptions of the body, overridden by the query. Throws 400 for a value that means nothing. */
export function deleteOptions(body: unknown, query: URLSearchParams): DeleteOptions {
  const fields = fieldsOf(body);
  const given = (name: string) => textOf(query.get(name) ?? fields[name]);
  const { uid, resourceVersion } = fieldsOf(fields.preconditions);
  const dryRun = query.has("dryRun") || (Array.isArray(fields.dryRun) && fields.dryRun.length > 0);
  return {
    dryRun,
    propagationPolicy: policyOf(given("propagationPolicy"), given("orphanDependents")),
    ...graceOf(given("gracePeriodSeconds")),
    ...(typeof uid === "string" && { uid }),
    ...(typeof resourceVersion === "string" && { resourceVersion }),
  };
}

function policyOf(policy: string, orphan: string): string {
  const chosen = policy || (orphan === "true" ? "Orphan" : "Background");
  if (POLICIES.includes(chosen)) return chosen;
  throw badRequest(`invalid propagationPolicy ${chosen}: use ${POLICIES.join(", ")}`);
}

function graceOf(text: string): { gracePeriodSeconds?: number } {
  if (!text) return {};
  if (/^\d{1,9}$/.test(text)) return { gracePeriodSeconds: Number(text) };
  throw badRequest(`invalid gracePeriodSeconds ${text}: use a whole number of seconds`);
}

/** Deletes one object, or marks it when a grace period, finalizers or contents stand before that. */
export class ObjectRemover {
  readonly #store: ObjectStore;
  readonly #clock: Clock;

  constructor(store: ObjectStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** `done`: the object is gone; else it is only marked. */
  delete(target: WriteTarget, options: DeleteOptions): { object: StoredObject; done: boolean } {
    const { storage } = target.type;
    const current = this.#store.get(storage, target.namespace, target.name);
    if (!current) throw notFound(target.type, target.name);
    checkPreconditions(current, target, options);
    const finalizers = this.#finalizers(storage, current, options.propagationPolicy);
    const grace = storage === "/pods" ? podGrace(current, options) : 0;
    if (finalizers.length === 0 && grace === 0 && storage !== "/namespaces") {
      const object = options.dryRun ? current : this.#store.remove(storage, current);
      return { object, done: true };
    }
    const marked = this.#marked(current, finalizers, grace);
    if (storage === "/namespaces") marked.status = { phase: "Terminating" };
    const same = JSON.stringify(marked) === JSON.stringify(current);
    const object = same || options.dryRun ? marked : this.#store.put(storage, marked);
    return { object, done: false };
  }

  #finalizers(storage: string, object: StoredObject, policy: string): string[] {
    const finalizers = new Set(object.metadata.finalizers);
    if (!object.metadata.deletionTimestamp) {
      if (policy === "Orphan") finalizers.add(ORPHAN);
      if (policy === "Foreground") finalizers.add(FOREGROUND);
      if (storage === DEFINITIONS) finalizers.add(INSTANCES);
    }
    return [...finalizers];
  }

  #marked(current: StoredObject, finalizers: string[], grace: number): StoredObject {
    const { deletionTimestamp, deletionGracePeriodSeconds = 0, generation } = current.metadata;
    const metadata: Metadata = {
      ...current.metadata,
      ...(finalizers.length > 0 && { finalizers }),
    };
    if (!deletionTimestamp || grace < deletionGracePeriodSeconds) {
      metadata.deletionTimestamp = timestamp(this.#clock.now() + grace * 1000);
      metadata.deletionGracePeriodSeconds = grace;
    }
    if (!deletionTimestamp && generation) metadata.generation = generation + 1;
    return { ...current, metadata };
  }
}

const TERMINAL = ["Succeeded", "Failed"];

function podGrace(pod: StoredObject, { gracePeriodSeconds }: DeleteOptions): number {
  if (TERMINAL.includes(String(at(pod, "status", "phase")))) return 0;
  if (gracePeriodSeconds !== undefined) return gracePeriodSeconds;
  return Number(at(pod, "spec", "terminationGracePeriodSeconds") ?? 30);
}

function checkPreconditions(
  { metadata }: StoredObject,
  { type, name }: WriteTarget,
  { uid, resourceVersion }: DeleteOptions,
): void {
  const wrong =
    (uid !== undefined &&
      uid !== metadata.uid &&
      `UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`) ||
    (resourceVersion !== undefined &&
      resourceVersion !== metadata.resourceVersion &&
      `ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion}`);
  if (!wrong) return;
  const message = `Operation cannot be fulfilled on ${type.plural} "${name}": Precondition failed: ${wrong}`;
  throw new ApiError(409, "Conflict", message, { name, kind: type.plural });
}
