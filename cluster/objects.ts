import { createHash } from "node:crypto";
import type { OwnerReference } from "#crds/kinds.ts";
import { apiVersionOf } from "./resources.ts";
import type { KubeObject, ObjectRef, Resource } from "./types.ts";

/** `namespace/name`; cluster-scoped objects have an empty namespace. */
export function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

export function splitKey(key: string): { namespace: string; name: string } {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

export function refOf(resource: Resource, { metadata }: KubeObject): ObjectRef {
  return { resource, namespace: metadata.namespace ?? "", name: metadata.name };
}

/** The same name for the same owner, always, so that "already exists" is the lock: `main-1a2b3c4d`. */
export function childName({ name, uid }: { name: string; uid: string }): string {
  const hash = createHash("sha256").update(uid).digest("hex").slice(0, 8);
  return `${name.slice(0, 40).replace(/[-.]+$/, "")}-${hash}`;
}

export function ownerReference(resource: Resource, { metadata }: KubeObject): OwnerReference {
  return {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    name: metadata.name,
    uid: metadata.uid ?? "",
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The controlling owner: children are matched by its UID, never by labels or names alone. */
export function controllerOf({ metadata }: KubeObject): OwnerReference | undefined {
  return metadata.ownerReferences?.find((owner) => owner.controller);
}

export function isControlledBy(child: KubeObject, uid: string | undefined): boolean {
  return uid !== undefined && controllerOf(child)?.uid === uid;
}

/** A valid label value for any object name: itself while it fits into 63 characters. */
export function labelValue(object: KubeObject): string {
  const { name, uid = "" } = object.metadata;
  return name.length <= 63 ? name : childName({ name, uid });
}

type Present<T> = { [Field in keyof T]: Exclude<T[Field], undefined> };

/** The object without its undefined fields: absent and undefined must be equal, in comparisons as on the wire. */
export function present<T extends object>(object: T): Partial<Present<T>> {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Partial<Present<T>>;
}
