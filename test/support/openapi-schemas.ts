import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

interface Definition {
  $ref?: string;
  type?: string;
  format?: string;
  properties?: Record<string, Definition>;
  items?: Definition;
  additionalProperties?: Definition | boolean;
  "x-kubernetes-group-version-kind"?: { group: string; version: string; kind: string }[];
  "x-kubernetes-preserve-unknown-fields"?: boolean;
  [keyword: string]: unknown;
}
type Definitions = Record<string, Definition>;

const PREFIX = "#/definitions/";

/**
 * Writes what an API server says about its kinds (`/openapi/v2`) as JSON schemas that know no field but theirs, one file per
 * kind. Returns the location of the files as kubeconform takes it.
 */
export async function writeSchemas(folder: string, openapi: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const { definitions } = JSON.parse(openapi) as { definitions: Definitions };
  const strict = Object.fromEntries(
    Object.entries(definitions).map(([name, definition]) => [name, closed(definition)]),
  );
  for (const [name, definition] of Object.entries(strict)) {
    for (const { group, version, kind } of definition["x-kubernetes-group-version-kind"] ?? []) {
      // kubeconform takes the version of a core kind for its group, too.
      const file = `${group || version}_${version}_${kind.toLowerCase()}.json`;
      const schema = { $ref: `${PREFIX}${name}`, definitions: reachable(name, strict) };
      await writeFile(join(folder, file), JSON.stringify(schema));
    }
  }
  return join(folder, "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json");
}

function closed(node: Definition): Definition {
  if (node.format === "int-or-string") return { type: ["string", "integer"] as never };
  const { properties, items, additionalProperties: extra } = node;
  const isOpen = extra !== undefined || node["x-kubernetes-preserve-unknown-fields"] === true;
  const entries = Object.entries(properties ?? {}).map(([key, child]) => [key, closed(child)]);
  return {
    ...node,
    ...(properties ? { properties: Object.fromEntries(entries) as Definitions } : {}),
    ...(items ? { items: closed(items) } : {}),
    ...(typeof extra === "object" ? { additionalProperties: closed(extra) } : {}),
    ...(properties && !isOpen ? { additionalProperties: false } : {}),
  };
}

/** The definition and all that it leads to. */
function reachable(name: string, definitions: Definitions): Definitions {
  const found: Definitions = {};
  const waiting = [name];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const definition = definitions[next];
    if (!definition || next in found) continue;
    found[next] = definition;
    for (const [, to = ""] of JSON.stringify(definition).matchAll(/"#\/definitions\/([^"]+)"/g)) {
      waiting.push(to);
    }
  }
  return found;
}
