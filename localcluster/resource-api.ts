import type { Clock } from "#lib/clock.ts";
import type { Logger } from "#lib/logger.ts";
import type { WriteTarget } from "./admission.ts";
import { deleteOptions, type ObjectRemover } from "./deletion.ts";
import { listObjects } from "./listing.ts";
import type { LogSource } from "./logs.ts";
import { at, type StoredObject, textOf } from "./object.ts";
import { podLog } from "./pod-log.ts";
import type { Registry } from "./registry.ts";
import { created, ok, type Reply } from "./reply.ts";
import {
  type ApiRequest,
  decodeBody,
  formOf,
  isDryRun,
  mediaType,
  unsupported,
  writeOptions,
} from "./request.ts";
import { resourcePath } from "./resource-path.ts";
import type { ResourceType } from "./resource-type.ts";
import { mayDoAll } from "./reviews.ts";
import type { ServiceAccountTokens } from "./service-account-tokens.ts";
import {
  badRequest,
  conflict,
  forbidden,
  methodNotAllowed,
  notFound,
  successStatus,
  unknownPath,
} from "./status.ts";
import type { ObjectStore } from "./store.ts";
import { View } from "./view.ts";
import { WatchStream } from "./watch.ts";
import type { ObjectWriter, PatchKind } from "./writes.ts";

export interface ResourceApiParts {
  store: ObjectStore;
  registry: Registry;
  writer: ObjectWriter;
  remover: ObjectRemover;
  tokens: ServiceAccountTokens;
  logs: LogSource;
  logger: Logger;
  clock: Clock;
}

const PATCH_KINDS: Record<string, PatchKind> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
};
/** Deletions of these answer the object, even when it is gone at once. */
const ANSWERS_OBJECT = new Set([
  "/pods",
  "/persistentvolumeclaims",
  "/serviceaccounts",
  "/services",
]);

/** Everything below `/api/v1` and `/apis/{group}/{version}`. */
export class ResourceApi {
  readonly #parts: ResourceApiParts;

  constructor(parts: ResourceApiParts) {
    this.#parts = parts;
  }

  async handle(
    request: ApiRequest,
    group: string,
    version: string,
    rest: string[],
  ): Promise<Reply> {
    const { plural, namespace, name, subresource } = resourcePath(rest);
    const type = this.#parts.registry.find(group, version, plural);
    if (!type || (namespace !== undefined && !type.namespaced)) throw unknownPath();
    if (!mayDoAll(request.user)) throw denied(request, type, name);
    const target = { type, namespace, name: name ?? "", subresource };
    if (name === undefined) return this.#collection(request, target);
    return this.#named(request, target);
  }

  #named(request: ApiRequest, target: WriteTarget): Reply | Promise<Reply> {
    const { type, namespace, subresource } = target;
    if (type.namespaced && namespace === undefined) throw unknownPath();
    if (subresource && subresource !== "status") return this.#subresource(request, target);
    if (subresource && !type.hasStatus) throw unknownPath();
    return this.#object(request, target);
  }

  #collection(request: ApiRequest, target: WriteTarget): Reply {
    const { type, namespace } = target;
    switch (request.method) {
      case "GET":
        return isWatch(request.query) ? this.#watch(request, target) : this.#list(request, target);
      case "POST": {
        if (type.namespaced && namespace === undefined) throw methodNotAllowed();
        const options = writeOptions(request);
        const object = this.#parts.writer.create(target, bodyOf(request), options);
        return { ...created(this.#view(request, type).one(object)), warnings: options.warnings };
      }
      case "DELETE":
        return this.#deleteCollection(request, target);
      default:
        throw methodNotAllowed();
    }
  }

  #object(request: ApiRequest, target: WriteTarget): Reply {
    const { type } = target;
    switch (request.method) {
      case "GET":
        return ok(this.#view(request, type).one(this.#find(target)));
      case "PUT": {
        const options = writeOptions(request);
        const object = this.#parts.writer.replace(target, bodyOf(request), options);
        return { ...ok(this.#view(request, type).one(object)), warnings: options.warnings };
      }
      case "PATCH":
        return this.#patch(request, target);
      case "DELETE":
        if (target.subresource) throw methodNotAllowed();
        return this.#delete(request, target);
      default:
        throw methodNotAllowed();
    }
  }

  #patch(request: ApiRequest, target: WriteTarget): Reply {
    const { type } = target;
    const kind = PATCH_KINDS[mediaType(request.contentType)];
    if (!kind || (kind === "strategic" && type.custom)) {
      const all = Object.keys(PATCH_KINDS);
      throw unsupported(type.custom ? all.filter((each) => !each.includes("strategic")) : all);
    }
    const options = writeOptions(request, kind === "apply");
    const result = this.#parts.writer.patch(
      target,
      kind,
      bodyOf(request, kind === "apply"),
      options,
    );
    const body = this.#view(request, type).one(result.object);
    return { status: result.created ? 201 : 200, body, warnings: options.warnings };
  }

  #delete(request: ApiRequest, target: WriteTarget): Reply {
    const options = deleteOptions(decodeBody(request), request.query);
    const { object, done } = this.#parts.remover.delete(target, {
      ...options,
      dryRun: options.dryRun || isDryRun(request.query),
    });
    const { type, name } = target;
    if (done && !ANSWERS_OBJECT.has(type.storage))
      return ok(successStatus(type, name, object.metadata.uid));
    return ok(this.#view(request, type).one(type.fromStored?.(object) ?? object));
  }

  #deleteCollection(request: ApiRequest, target: WriteTarget): Reply {
    const { type, namespace } = target;
    if (type.namespaced && namespace === undefined) throw methodNotAllowed();
    const options = deleteOptions(decodeBody(request), request.query);
    const listing = listObjects(this.#parts.store, type, namespace, request.query);
    const items = listing.items.map(
      ({ metadata }) =>
        this.#parts.remover.delete({ ...target, name: metadata.name }, options).object,
    );
    return ok(this.#view(request, type).list({ ...listing, items }));
  }

  #list(request: ApiRequest, { type, namespace }: WriteTarget): Reply {
    const view = this.#view(request, type);
    return ok(view.list(listObjects(this.#parts.store, type, namespace, request.query)));
  }

  #watch(request: ApiRequest, { type, namespace }: WriteTarget): Reply {
    const { store, clock } = this.#parts;
    const { query, signal } = request;
    const view = this.#view(request, type);
    const present = (object: StoredObject) => view.next(object);
    const watch = new WatchStream({ store, type, namespace, query, present, clock, signal });
    return { contentType: "application/json", stream: (response) => watch.run(response) };
  }

  #view({ accept, query }: ApiRequest, type: ResourceType): View {
    const { clock } = this.#parts;
    return new View({ type, form: formOf(accept), include: query.get("includeObject"), clock });
  }

  #find({ type, namespace, name }: WriteTarget): StoredObject {
    const stored = this.#parts.store.get(type.storage, namespace, name);
    if (!stored) throw notFound(type, name);
    return type.fromStored?.(stored) ?? stored;
  }

  async #subresource(request: ApiRequest, target: WriteTarget): Promise<Reply> {
    const { type, namespace = "", name, subresource } = target;
    const wanted = `${request.method} ${type.storage}/${subresource}`;
    if (wanted === "GET /pods/log") {
      return podLog(this.#find(target), request.query, this.#parts.logs, request.signal);
    }
    if (wanted === "POST /pods/binding") return this.#bind(request, target);
    if (wanted === "POST /serviceaccounts/token") {
      return created(await this.#parts.tokens.request(namespace, name, bodyOf(request)));
    }
    throw unknownPath();
  }

  /** What a scheduler does: names the node of a pod, once. */
  #bind(request: ApiRequest, target: WriteTarget): Reply {
    const pod = this.#find(target);
    const node = at(bodyOf(request), "target", "name");
    if (typeof node !== "string" || !node) throw badRequest("target.name: name the node");
    const bound = at(pod, "spec", "nodeName");
    if (bound) {
      throw conflict(
        target.type,
        target.name,
        `pod ${target.name} is already assigned to node "${textOf(bound)}"`,
      );
    }
    const spec = { ...(pod.spec as object), nodeName: node };
    if (!isDryRun(request.query)) this.#parts.store.put(target.type.storage, { ...pod, spec });
    return created({
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Success",
      code: 201,
    });
  }
}

/** Bodies are needed by every write; protobuf and other forms are refused with 415. */
function bodyOf(request: ApiRequest, anyForm = false): unknown {
  const body = decodeBody(anyForm ? { ...request, contentType: "application/yaml" } : request);
  if (body === undefined) throw badRequest("the body is empty");
  return body;
}

const isWatch = (query: URLSearchParams) => ["true", "1"].includes(query.get("watch") ?? "");

const VERBS: Record<string, string> = {
  GET: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

function denied({ user, method, path }: ApiRequest, type: ResourceType, name: string | undefined) {
  const verb = method === "GET" && name === undefined ? "list" : VERBS[method];
  const namespace = path.includes("namespaces")
    ? ` in the namespace "${path[path.indexOf("namespaces") + 1]}"`
    : "";
  const why = `User "${user.username}" cannot ${verb} resource "${type.plural}" in API group "${type.group}"${namespace}`;
  return forbidden(type, name ?? "", why);
}
