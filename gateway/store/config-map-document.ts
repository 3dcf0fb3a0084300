import { createHash } from "node:crypto";
import { configMaps } from "#cluster/resources.ts";
import type { KubeObject, ObjectRef } from "#cluster/types.ts";
import { ArgusError } from "#lib/errors.ts";
import { UnreadableDocument } from "./unreadable.ts";

/** One document as it lies in its ConfigMap. */
export interface MappedDocument {
  uid: string;
  version: number;
  /** JSON. */
  body: string;
  /** `<writer>/<number>`: tells after a write without an answer whether it had its effect. */
  commit: string;
  /** Who has read it last and may write it. */
  holder: string;
}

export interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

/** A ConfigMap takes 1 MiB, its server's database 1.5 MiB with everything around it; half of it leaves room for both. */
export const MAX_CONFIG_MAP_BYTES = 512 * 1024;

const PREFIX = "argus-state-";
/** Where the gateway that holds the state writes its name. */
export const HOLDER_NAME = "argus-state";
/** By it the documents are found. */
export const DOCUMENT_LABEL = "argus.dev/state=document";
const HOLDER_ANNOTATION = "argus.dev/state-holder";
const VERSION_ANNOTATION = "argus.dev/state-version";
const OWNER = {
  "app.kubernetes.io/managed-by": "argus-gateway",
  "app.kubernetes.io/part-of": "argus",
  "app.kubernetes.io/component": "state",
};
const UID = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Throws `InvalidInput` for a uid that no object can be named after. */
export function documentRef(namespace: string, uid: string): ObjectRef {
  if (!UID.test(uid)) throw new ArgusError("InvalidInput", `${uid}: no uid of an object`, { uid });
  return { resource: configMaps, namespace, name: `${PREFIX}${uid}` };
}

export const uidOf = ({ metadata }: ConfigMap): string => metadata.name.slice(PREFIX.length);

/** Also of a document that cannot be read. */
export const versionOf = ({ metadata }: ConfigMap): number =>
  Number(metadata.annotations?.[VERSION_ANNOTATION] ?? 0);

/** With a resourceVersion it replaces exactly that one. */
export function documentMap(
  namespace: string,
  document: MappedDocument,
  resourceVersion?: string,
): ConfigMap {
  const { uid, version, body, commit, holder } = document;
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: documentRef(namespace, uid).name,
      namespace,
      labels: { ...OWNER, "argus.dev/state": "document" },
      annotations: { [HOLDER_ANNOTATION]: holder, [VERSION_ANNOTATION]: String(version) },
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    data: { body, version: String(version), commit, checksum: checksum(document) },
  };
}

/** Throws {@link UnreadableDocument} when it is not what a gateway wrote: then it is left as it is. */
export function documentOf(map: ConfigMap): MappedDocument {
  const { body = "", version = "", commit = "", checksum: sum } = map.data ?? {};
  const holder = map.metadata.annotations?.[HOLDER_ANNOTATION] ?? "";
  const document = { uid: uidOf(map), version: Number(version), body, commit, holder };
  if (sum === checksum(document) && document.version > 0) return document;
  throw new UnreadableDocument(
    "ChecksumMismatch",
    `ConfigMap ${map.metadata.name} is not as a gateway wrote it: put its former content back, or import the session's state from an export.`,
    { uid: document.uid },
  );
}

/** Who holds the state, as an object of its own. */
export function holderMap(
  namespace: string,
  holder: { id: string; name: string; since: string },
  resourceVersion?: string,
): ConfigMap {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: HOLDER_NAME,
      namespace,
      labels: { ...OWNER, "argus.dev/state": "holder" },
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    data: holder,
  };
}

function checksum({ uid, version, body, commit }: MappedDocument): string {
  const head = `${uid}\n${version}\n${commit}\n`;
  return createHash("sha256").update(head).update(body).digest("base64");
}
