import type { ObjectMeta } from "#crds/kinds.ts";

/** Any Kubernetes object, as raw JSON. Unknown fields survive every round trip. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** Which collection: `{group: "argus.dev", version: "v1alpha1", plural: "argussessions"}`; core has group "". */
export interface Resource {
  group: string;
  version: string;
  plural: string;
  kind: string;
}

export interface ObjectRef {
  resource: Resource;
  namespace: string;
  name: string;
}

export interface ListOptions {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  limit?: number;
  continue?: string;
  resourceVersion?: string;
}

export interface Preconditions {
  uid?: string;
  resourceVersion?: string;
}

/**
 * REST client: raw JSON in and out, one pooled connection set, a deadline per call.
 * Every failed call throws KubeError; `get` answers undefined for 404.
 */
export interface KubeClient {
  get<T extends KubeObject>(ref: ObjectRef): Promise<T | undefined>;
  list<T extends KubeObject>(
    resource: Resource,
    options?: ListOptions,
  ): Promise<{ items: T[]; resourceVersion: string; continue?: string }>;
  create<T extends KubeObject>(resource: Resource, object: T): Promise<T>;
  /** Plain PUT with the object's resourceVersion as precondition. */
  replace<T extends KubeObject>(resource: Resource, object: T): Promise<T>;
  /** Server-side apply of the complete intent. */
  apply<T extends KubeObject>(resource: Resource, object: T, options: ApplyOptions): Promise<T>;
  /** Server-side apply to the status subresource. */
  applyStatus<T extends KubeObject>(
    resource: Resource,
    object: T,
    options: ApplyOptions,
  ): Promise<T>;
  jsonPatch<T extends KubeObject>(ref: ObjectRef, patch: JsonPatchOperation[]): Promise<T>;
  delete(ref: ObjectRef, preconditions?: Preconditions): Promise<void>;
  /** Any call that has no method of its own (TokenReview, TokenRequest, watch); the caller reads the body. */
  request(method: string, path: string, options?: RequestOptions): Promise<KubeResponse>;
  /** Whether watches share one connection (HTTP/2), as the newest connection told; a second watch then costs none. */
  multiplexes?(): boolean;
  /** The same client, on the same connections, for somebody who may write only for a time. */
  fenced(fence: Fence): KubeClient;
  /** Answers so far by `METHOD code`; the code of a call without an answer is `<error>`. */
  counts?(): ReadonlyMap<string, number>;
  close(): Promise<void>;
}

/** Who may write, and until when. */
export interface Fence {
  /** Throws when writing is over. Asked directly before the first byte of every request that is not a GET. */
  check(): void;
  /** Aborts writes under way when writing is over. */
  signal: AbortSignal;
}

export interface ApplyOptions {
  fieldManager: string;
  force?: boolean;
}

export interface JsonPatchOperation {
  op: "add" | "remove" | "replace" | "test";
  path: string;
  value?: unknown;
}

export interface RequestOptions {
  body?: unknown;
  contentType?: string;
  query?: Record<string, string | number | boolean | undefined>;
  signal?: AbortSignal;
  timeoutMs?: number;
  /** A watch on a connection apart from the others, so that one broken connection does not end both. */
  standby?: boolean;
}

export interface KubeResponse {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: AsyncIterable<Buffer> & { json(): Promise<unknown>; dump(): Promise<void> };
}

/** Watches one collection into a cache; survives 410, 429, 5xx, cuts and half-open connections. */
export interface Informer<T extends KubeObject> {
  /** Read-only view: namespace/name → object. */
  get(key: string): T | undefined;
  list(): T[];
  /** Resolves once the first list is in the cache. */
  synced(signal?: AbortSignal): Promise<void>;
  /** Called after each change with the object's key; handlers only enqueue. Returns an unsubscribe function. */
  onChange(
    handler: (key: string, object: T, change: "added" | "updated" | "deleted") => void,
  ): () => void;
  /** Milliseconds since the last event, bookmark, list or accepted watch; for readiness. */
  silenceMs(): number;
  /** The resourceVersion that the cache stands at; undefined before the first list. */
  version(): string | undefined;
  /** Why the collection could not be followed the last time; undefined = it can. */
  trouble(): string | undefined;
}
