import { unknownPath } from "./status.ts";

export interface ResourcePath {
  plural: string;
  namespace: string | undefined;
  name: string | undefined;
  subresource: string;
}

/** `namespaces/a/pods/b/log` → its parts; `namespaces/a/status` is about the namespace itself. */
export function resourcePath(rest: string[]): ResourcePath {
  const [first, second, third] = rest;
  const inside = first === "namespaces" && third && third !== "status" && third !== "finalize";
  const [plural = "", name, subresource = "", ...more] = inside ? rest.slice(2) : rest;
  if (!plural || more.length > 0) throw unknownPath();
  return { plural, namespace: inside ? second : undefined, name, subresource };
}
