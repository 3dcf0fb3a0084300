import { randomUUID } from "node:crypto";
import { EventEmitter, on } from "node:events";
import fastJsonPatch, { type Operation } from "fast-json-patch";
import { KubeError } from "#cluster/kube-error.ts";
import { collectionPath } from "#cluster/resources.ts";
import type {
  Fence,
  JsonPatchOperation,
  KubeClient,
  KubeObject,
  KubeResponse,
  ObjectRef,
  RequestOptions,
  Resource,
} from "#cluster/types.ts";

/**
 * A Kubernetes API in memory, for tests of one process's use of it: objects, watches, TokenReview.
 * It validates and defaults nothing.
 */
export class FakeKube implements KubeClient {
  readonly objects = new Map<string, KubeObject>();
  /** Tokens that TokenReview accepts. */
  readonly tokens = new Map<string, { podUid: string; user: string }>();
  /** Calls so far, by `METHOD path`. */
  readonly calls: string[] = [];
  /** While set every call fails as if nobody answered. */
  away = false;
  readonly #events = new EventEmitter().setMaxListeners(0);
  #version = 0;

  async get<T extends KubeObject>(ref: ObjectRef): Promise<T | undefined> {
    this.#call("GET", pathOf(ref));
    return structuredClone(this.objects.get(pathOf(ref))) as T | undefined;
  }

  async list<T extends KubeObject>(resource: Resource, { namespace = "" } = {}) {
    this.#call("LIST", collectionPath(resource, namespace));
    const prefix = `${collectionPath(resource, namespace)}/`;
    const items = [...this.objects].filter(([path]) => path.startsWith(prefix));
    return {
      items: structuredClone(items.map(([, object]) => object)) as T[],
      resourceVersion: String(this.#version),
    };
  }

  async create<T extends KubeObject>(resource: Resource, object: T): Promise<T> {
    const ref = refOf(resource, object);
    this.#call("POST", pathOf(ref));
    if (this.objects.has(pathOf(ref))) throw failure(409, "AlreadyExists");
    return this.put(resource, object);
  }

  async replace<T extends KubeObject>(resource: Resource, object: T): Promise<T> {
    const path = pathOf(refOf(resource, object));
    this.#call("PUT", path);
    const old = this.objects.get(path);
    if (!old) throw failure(404, "NotFound");
    const { resourceVersion } = object.metadata;
    if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) {
      throw failure(409, "Conflict");
    }
    return this.put(resource, object);
  }

  async apply<T extends KubeObject>(resource: Resource, object: T): Promise<T> {
    this.#call("APPLY", pathOf(refOf(resource, object)));
    return this.put(resource, object);
  }

  /** Fields and conditions that `object` does not name are another manager's, and stay. */
  async applyStatus<T extends KubeObject>(resource: Resource, object: T): Promise<T> {
    const path = pathOf(refOf(resource, object));
    this.#call("APPLY STATUS", path);
    const old = this.objects.get(path) as (T & { status?: Status }) | undefined;
    if (!old) throw failure(404, "NotFound");
    const { status = {} } = object as T & { status?: Status };
    const named = new Set((status.conditions ?? []).map(({ type }) => type));
    const others = (old.status?.conditions ?? []).filter(({ type }) => !named.has(type));
    const conditions = [...others, ...(status.conditions ?? [])];
    return this.put(resource, { ...old, status: { ...old.status, ...status, conditions } });
  }

  async jsonPatch<T extends KubeObject>(ref: ObjectRef, patch: JsonPatchOperation[]): Promise<T> {
    const path = pathOf(ref);
    this.#call("JSON PATCH", path);
    const old = this.objects.get(path);
    if (!old) throw failure(404, "NotFound");
    const next = structuredClone(old);
    try {
      fastJsonPatch.applyPatch(next, structuredClone(patch) as Operation[], true);
    } catch {
      throw failure(422, "Invalid");
    }
    const made = this.put(ref.resource, next) as T;
    const { deletionTimestamp, finalizers = [] } = made.metadata;
    if (deletionTimestamp && finalizers.length === 0) this.#remove(path, made);
    return made;
  }

  async delete(ref: ObjectRef): Promise<void> {
    const path = pathOf(ref);
    this.#call("DELETE", path);
    const old = this.objects.get(path);
    if (!old) throw failure(404, "NotFound");
    if (!old.metadata.finalizers?.length) return this.#remove(path, old);
    const deletionTimestamp = old.metadata.deletionTimestamp ?? new Date().toISOString();
    this.put(ref.resource, { ...old, metadata: { ...old.metadata, deletionTimestamp } });
  }

  #remove(path: string, old: KubeObject): void {
    this.objects.delete(path);
    this.#version += 1;
    const gone = { ...old, metadata: { ...old.metadata, resourceVersion: String(this.#version) } };
    this.#events.emit("event", path, { type: "DELETED", object: gone });
  }

  /** Writes without asking, as another client would. */
  put<T extends KubeObject>(resource: Resource, object: T): T {
    const path = pathOf(refOf(resource, object));
    const old = this.objects.get(path);
    this.#version += 1;
    const uid = old?.metadata.uid ?? object.metadata.uid ?? randomUUID();
    const metadata = { ...object.metadata, uid, resourceVersion: String(this.#version) };
    const next = structuredClone({ ...object, metadata });
    this.objects.set(path, next);
    this.#events.emit("event", path, { type: old ? "MODIFIED" : "ADDED", object: next });
    return structuredClone(next);
  }

  async request(method: string, path: string, options: RequestOptions = {}): Promise<KubeResponse> {
    this.#call(method, path);
    if (path.endsWith("/tokenreviews")) return response(this.#review(options.body));
    if (options.query?.["sendInitialEvents"]) throw failure(422, "Invalid");
    const signal = options.signal ?? new AbortController().signal;
    return { status: 200, headers: {}, body: body(this.#watch(path, signal)) };
  }

  /** Writes of the fenced client are asked for first, as the real one does. */
  fenced(fence: Fence): KubeClient {
    const writes = ["create", "replace", "apply", "applyStatus", "jsonPatch", "delete"];
    return new Proxy<KubeClient>(this, {
      get: (target, name: keyof KubeClient) => {
        const method = target[name] as (...words: unknown[]) => unknown;
        return (...words: unknown[]) => {
          if (writes.includes(name)) fence.check();
          return method.apply(target, words);
        };
      },
    });
  }

  async close(): Promise<void> {}

  async *#watch(path: string, signal: AbortSignal): AsyncGenerator<Buffer> {
    try {
      for await (const [at, event] of on(this.#events, "event", { signal })) {
        if (String(at).startsWith(`${path}/`)) yield Buffer.from(`${JSON.stringify(event)}\n`);
      }
    } catch {
      // The watcher has gone.
    }
  }

  #review(body: unknown): unknown {
    const { token } = (body as { spec: { token: string } }).spec;
    const found = this.tokens.get(token);
    if (!found) return { status: { authenticated: false } };
    return {
      status: {
        authenticated: true,
        audiences: ["argus-gateway"],
        user: {
          username: found.user,
          extra: { "authentication.kubernetes.io/pod-uid": [found.podUid] },
        },
      },
    };
  }

  #call(method: string, path: string): void {
    this.calls.push(`${method} ${path}`);
    if (this.away) throw failure(0);
  }
}

interface Status {
  conditions?: { type: string }[];
}

const pathOf = ({ resource, namespace, name }: ObjectRef) =>
  `${collectionPath(resource, namespace)}/${name}`;
const refOf = (resource: Resource, { metadata }: KubeObject): ObjectRef => ({
  resource,
  namespace: metadata.namespace ?? "",
  name: metadata.name,
});

function failure(status: number, reason?: string): KubeError {
  return new KubeError({ call: "fake", status, ...(reason ? { answer: { reason } } : {}) });
}

function response(value: unknown): KubeResponse {
  async function* bytes() {
    yield Buffer.from(JSON.stringify(value));
  }
  return { status: 201, headers: {}, body: body(bytes(), value) };
}

function body(bytes: AsyncGenerator<Buffer>, value?: unknown): KubeResponse["body"] {
  return Object.assign(bytes, { json: async () => value, dump: async () => {} });
}
