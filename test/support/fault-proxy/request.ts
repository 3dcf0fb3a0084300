/** One request as it arrived at the proxy. */
export interface ProxiedRequest {
  /** 1 for the first. */
  number: number;
  atMs: number;
  method: string;
  path: string;
  query: URLSearchParams;
  /** As the API server's audit log has it: get, list, watch, create, update, patch, delete, deletecollection. */
  verb: string;
  /** `pods`, `pods/status`; "" for what is no resource. */
  resource: string;
  namespace: string;
  name: string;
  /** Which connection brought it, 1 for the first. */
  connection: number;
  /** HTTP status of the API server's answer; undefined while there is none. */
  status?: number;
}

type Described = Pick<ProxiedRequest, "verb" | "resource" | "namespace" | "name">;

const WRITES: Record<string, string> = { POST: "create", PUT: "update", PATCH: "patch" };

/** What a request asks of the API server. */
export function describe(method: string, path: string, query: URLSearchParams): Described {
  const [, root, ...rest] = path.split("/");
  const parts = root === "api" ? rest.slice(1) : root === "apis" ? rest.slice(2) : [];
  const namespaced = parts[0] === "namespaces" && parts.length > 2;
  const namespace = namespaced ? (parts[1] ?? "") : "";
  const [plural = "", name = "", subresource = ""] = namespaced ? parts.slice(2) : parts;
  const resource = subresource ? `${plural}/${subresource}` : plural;
  return { verb: verbOf(method, name, query), resource, namespace, name };
}

function verbOf(method: string, name: string, query: URLSearchParams): string {
  if (method === "GET") {
    if (query.get("watch") === "true" || query.get("watch") === "1") return "watch";
    return name ? "get" : "list";
  }
  if (method === "DELETE") return name ? "delete" : "deletecollection";
  return WRITES[method] ?? method.toLowerCase();
}

/** A dry run changes nothing. */
export const isWrite = ({ method, query }: Pick<ProxiedRequest, "method" | "query">): boolean =>
  method !== "GET" && !query.has("dryRun");
