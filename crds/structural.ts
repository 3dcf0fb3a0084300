import { z } from "zod";

type Json = Record<string, unknown>;

const COMBINATORS = ["oneOf", "anyOf", "allOf", "not", "$ref"];

/**
 * The structural OpenAPI v3 schema of a zod schema, as a CustomResourceDefinition wants it.
 * Throws with the path where a node has no structural form (unions, references, untyped nodes).
 */
export function structuralSchema(schema: z.ZodType): Json {
  const json = z.toJSONSchema(schema, {
    target: "openapi-3.0",
    io: "input",
    unrepresentable: "any",
  });
  return structural(json, "");
}

function structural({ additionalProperties: extra, ...node }: Json, path: string): Json {
  delete node.$schema;
  if (node["x-kubernetes-int-or-string"]) delete node.anyOf;
  if (node.format === "date-time") delete node.pattern;
  // zod bounds every integer by what a JavaScript number holds; the API server needs no such bound.
  if (node.minimum === Number.MIN_SAFE_INTEGER) delete node.minimum;
  if (node.maximum === Number.MAX_SAFE_INTEGER) delete node.maximum;
  delete node.propertyNames;
  const combinator = COMBINATORS.find((key) => key in node);
  if (combinator) throw new Error(`${path || "."}: ${combinator} has no structural form`);
  const open = node["x-kubernetes-preserve-unknown-fields"];
  if (!node.type && !open && !node["x-kubernetes-int-or-string"]) {
    throw new Error(`${path || "."}: no type`);
  }
  return withChildren(node, extra, path);
}

function withChildren(node: Json, extra: unknown, path: string): Json {
  if (node.properties) {
    node.properties = Object.fromEntries(
      Object.entries(node.properties as Record<string, Json>).map(([key, child]) => [
        key,
        structural(child, `${path}.${key}`),
      ]),
    );
  }
  if (node.items) node.items = structural(node.items as Json, `${path}[]`);
  if (extra && !node.properties && !node["x-kubernetes-preserve-unknown-fields"]) {
    node.additionalProperties = structural(extra as Json, `${path}.*`);
  }
  return node;
}
