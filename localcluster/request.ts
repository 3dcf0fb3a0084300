import type { IncomingMessage } from "node:http";
import { parse as parseYaml } from "yaml";
import { errorMessage } from "#lib/errors.ts";
import type { WriteOptions } from "./admission.ts";
import { decodeProtobuf, PROTOBUF } from "./protobuf.ts";
import type { User } from "./service-account-tokens.ts";
import { ApiError, badRequest } from "./status.ts";

/** A request after its edges: body read, caller known. */
export interface ApiRequest {
  method: string;
  /** Decoded path segments: `["api", "v1", "pods"]`. */
  path: string[];
  query: URLSearchParams;
  accept: string;
  contentType: string;
  userAgent: string;
  /** Raw, at most 3 MiB. */
  body: Buffer;
  user: User;
  /** Aborts when the client leaves or the server stops. */
  signal: AbortSignal;
}

const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** The whole body. Throws 413 above the bound, having read no more than that. */
export async function readBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      const text = `Request entity too large: limit is ${MAX_BODY_BYTES}`;
      throw new ApiError(413, "RequestEntityTooLarge", text);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Path segments without empty ones. Throws 400 for broken percent signs. */
export function segmentsOf(pathname: string): string[] {
  try {
    return pathname.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    throw badRequest(`malformed path ${pathname}`);
  }
}

const JSON_TYPES = [
  "",
  "application/json",
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];
const YAML_TYPES = ["application/yaml", "application/apply-patch+yaml"];

export const mediaType = (contentType: string) =>
  (contentType.split(";")[0] ?? "").trim().toLowerCase();

/** The parsed body; undefined when empty. Throws 415 for other forms than JSON, YAML and a few protobuf kinds, 400 when it cannot be parsed. */
export function decodeBody({ body, contentType }: ApiRequest): unknown {
  if (body.length === 0) return undefined;
  const type = mediaType(contentType);
  const binary = type === PROTOBUF ? decodeProtobuf(body) : undefined;
  if (binary) return binary;
  if (!JSON_TYPES.includes(type) && !YAML_TYPES.includes(type))
    throw unsupported(["application/json", "application/yaml"]);
  const text = body.toString("utf8");
  try {
    // YAML 1.1 as Kubernetes reads it. A few aliases at most: deep ones would blow up in memory.
    if (YAML_TYPES.includes(type)) return parseYaml(text, { version: "1.1", maxAliasCount: 100 });
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`error decoding the body: ${errorMessage(error)}`);
  }
}

export const unsupported = (types: string[]) =>
  new ApiError(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${types.join(", ")}`,
  );

/** Throws 400 for an option that means nothing. `mustName`: the program's name is no substitute for a field manager. */
export function writeOptions({ query, userAgent }: ApiRequest, mustName = false): WriteOptions {
  const validation = query.get("fieldValidation") || "Warn";
  if (validation !== "Strict" && validation !== "Warn" && validation !== "Ignore") {
    throw badRequest(`invalid fieldValidation ${validation}: use Strict, Warn or Ignore`);
  }
  return {
    dryRun: isDryRun(query),
    manager: query.get("fieldManager") || (mustName ? "" : agentName(userAgent)),
    force: query.get("force") === "true",
    fieldValidation: validation,
    warnings: [],
  };
}

export function isDryRun(query: URLSearchParams): boolean {
  const wrong = query.getAll("dryRun").find((each) => each !== "All" && each !== "");
  if (wrong) throw badRequest(`invalid dryRun ${wrong}: use All`);
  return query.getAll("dryRun").includes("All");
}

/** Who owns the fields when the request does not say: the program's name. */
const agentName = (userAgent: string) => userAgent.split("/")[0]?.slice(0, 128) || "unknown";

export type Form = "object" | "table" | "metadata";

/** In which form the client wants objects; the first acceptable part of the header counts. Throws 406. */
export function formOf(accept: string): Form {
  for (const part of accept ? accept.split(",") : ["*/*"]) {
    const [type = "", ...rest] = part.split(";").map((each) => each.trim());
    const parameters = new Map(rest.map((each) => each.split("=", 2) as [string, string]));
    if (type !== "application/json" && type !== "*/*" && type !== "application/*") continue;
    const as = parameters.get("as");
    if (!as) return "object";
    if (parameters.get("g") !== "meta.k8s.io" || parameters.get("v") !== "v1") continue;
    if (as === "Table") return "table";
    if (as.startsWith("PartialObjectMetadata")) return "metadata";
  }
  const text = "only the following media types are accepted: application/json";
  throw new ApiError(406, "NotAcceptable", text);
}
