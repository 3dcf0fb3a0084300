import {
  AGGREGATED_TYPE,
  aggregatedDiscovery,
  groupDocument,
  groupList,
  REVIEWS,
  resourceList,
  wantsAggregated,
} from "./discovery.ts";
import { openApiDocument, openApiIndex } from "./openapi.ts";
import type { Registry } from "./registry.ts";
import { created, ok, plainText, type Reply } from "./reply.ts";
import { type ApiRequest, decodeBody } from "./request.ts";
import type { ResourceApi } from "./resource-api.ts";
import { type Authenticator, accessReview, selfReview } from "./reviews.ts";
import { ISSUER, type ServiceAccountTokens } from "./service-account-tokens.ts";
import { ApiError, methodNotAllowed, unknownPath } from "./status.ts";
import type { ObjectStore } from "./store.ts";

export interface RouterParts {
  store: ObjectStore;
  registry: Registry;
  resources: ResourceApi;
  authenticator: Authenticator;
  tokens: ServiceAccountTokens;
}

export const VERSION = {
  major: "1",
  minor: "35",
  gitVersion: "v1.35.0+argus",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "2026-01-01T00:00:00Z",
  goVersion: "",
  compiler: "",
  platform: "linux/amd64",
};

/** Answers of the paths that need no token; undefined for every other path. */
export function openReply(path: string[], tokens: ServiceAccountTokens): Reply | undefined {
  const [first = ""] = path;
  if (["livez", "readyz", "healthz"].includes(first)) return plainText("ok");
  if (path.join("/") === "version") return ok(VERSION);
  if (path.join("/") === "openid/v1/jwks") return ok(tokens.keySet());
  if (path.join("/") !== ".well-known/openid-configuration") return undefined;
  return ok({
    issuer: ISSUER,
    jwks_uri: `${ISSUER}/openid/v1/jwks`,
    response_types_supported: ["id_token"],
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: ["ES256"],
  });
}

/** Sends each request where it belongs. Throws ApiError. */
export async function route(request: ApiRequest, parts: RouterParts): Promise<Reply> {
  const [first = "", ...rest] = request.path;
  switch (first) {
    case "api":
      return routeApi(request, parts, rest);
    case "apis":
      return routeApis(request, parts, rest);
    case "openapi":
      return openApi(request, parts, rest);
    default:
      throw unknownPath();
  }
}

async function routeApi(request: ApiRequest, parts: RouterParts, rest: string[]): Promise<Reply> {
  const [version, ...path] = rest;
  const types = parts.registry.types();
  if (!version) {
    if (wantsAggregated(request.accept)) return aggregated(aggregatedDiscovery(types, true));
    return ok({ kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] });
  }
  if (path.length > 0) return parts.resources.handle(request, "", version, path);
  return found(resourceList(types, "", version));
}

async function routeApis(request: ApiRequest, parts: RouterParts, rest: string[]): Promise<Reply> {
  const [group, version, ...path] = rest;
  const types = parts.registry.types();
  if (!group) {
    if (wantsAggregated(request.accept)) return aggregated(aggregatedDiscovery(types, false));
    return ok(groupList(types));
  }
  if (!version) return found(groupDocument(types, group));
  if (path.length === 0) return found(resourceList(types, group, version));
  const [plural, ...more] = path;
  const isReview = REVIEWS.some((each) => each.group === group && each.plural === plural);
  if (isReview && version === "v1" && more.length === 0) return review(request, parts, plural);
  return parts.resources.handle(request, group, version, path);
}

const aggregated = (body: object): Reply => ({ status: 200, body, contentType: AGGREGATED_TYPE });

function found(body: object | undefined): Reply {
  if (!body) throw unknownPath();
  return ok(body);
}

async function review(
  request: ApiRequest,
  { authenticator }: RouterParts,
  plural: string | undefined,
) {
  if (request.method !== "POST") throw methodNotAllowed();
  const body = decodeBody(request);
  if (plural === "selfsubjectreviews") return created(selfReview(request.user));
  if (plural === "selfsubjectaccessreviews") return created(accessReview(request.user, body));
  if (!request.user.groups.includes("system:masters")) {
    throw new ApiError(
      403,
      "Forbidden",
      `User "${request.user.username}" cannot create resource "tokenreviews"`,
    );
  }
  return created(await authenticator.review(body));
}

function openApi({ accept }: ApiRequest, { registry, store }: RouterParts, rest: string[]): Reply {
  const [version, ...path] = rest;
  if (version === "v2" && path.length === 0) return openApiV2(accept);
  if (version !== "v3") throw unknownPath();
  if (accept && !/application\/json|\*\/\*/.test(accept)) {
    throw new ApiError(
      406,
      "NotAcceptable",
      "only the following media types are accepted: application/json",
    );
  }
  if (path.length === 0) return ok(openApiIndex(registry.types(), store.version));
  return found(openApiDocument(registry.types(), path.join("/")));
}

const V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/** A message whose only field, number 1 (`swagger`), is "2.0". */
const EMPTY_V2_DOCUMENT = "\n\u00032.0";

/** The older document names no schemas, so clients leave validation to the server; version 3 has them. */
function openApiV2(accept: string): Reply {
  if (accept.includes(V2_PROTOBUF)) {
    // In an answer the @ would be no media type.
    return { status: 200, body: EMPTY_V2_DOCUMENT, contentType: V2_PROTOBUF.replace("@", ".") };
  }
  return ok({
    swagger: "2.0",
    info: { title: "Kubernetes", version: VERSION.gitVersion },
    paths: {},
  });
}
