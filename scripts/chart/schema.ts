import { z } from "zod";
import { ArgusSessionSpec } from "#crds/argus-session.ts";
import { ChartValues, SessionTemplate } from "./values.ts";

export interface SchemaNode {
  type?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  properties?: Record<string, SchemaNode>;
  required?: string[];
  items?: SchemaNode;
  additionalProperties?: SchemaNode | boolean;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  [keyword: string]: unknown;
}

/** `values.schema.json` as helm 3 and 4 read it: draft-07, closed everywhere. */
export function valuesSchema(): SchemaNode {
  const schema = z.toJSONSchema(ChartValues, {
    target: "draft-7",
    io: "output",
    override: ({ zodSchema, jsonSchema }) => {
      // Same object, described: the definition is what the identity is kept on.
      if (zodSchema._zod.def === SessionTemplate._zod.def) {
        Object.assign(jsonSchema, sessionTemplateSchema());
      }
    },
  });
  return tidy(schema as SchemaNode);
}

/** What a person may write into a session's spec: nothing is required, unknown fields only where the CRD keeps them. */
function sessionTemplateSchema(): SchemaNode {
  const { $schema: _, ...spec } = z.toJSONSchema(ArgusSessionSpec, {
    target: "draft-7",
    io: "input",
    unrepresentable: "any",
  }) as SchemaNode;
  return closed(spec);
}

const KEEPS_UNKNOWN = "x-kubernetes-preserve-unknown-fields";

function closed(node: SchemaNode): SchemaNode {
  if (node[KEEPS_UNKNOWN]) return node;
  const open = node.additionalProperties && !node.properties;
  return {
    ...node,
    ...(node.properties ? { properties: eachProperty(node.properties, closed) } : {}),
    ...(node.items ? { items: closed(node.items) } : {}),
    ...(node.type === "object" && !open ? { additionalProperties: false } : {}),
  };
}

/** Without zod's bounds of every integer and without what only the API server understands. */
function tidy(node: SchemaNode): SchemaNode {
  const kept = Object.entries(node).filter(
    ([key, value]) =>
      !key.startsWith("x-kubernetes-") &&
      key !== "propertyNames" &&
      !(key === "pattern" && node.format === "date-time") &&
      !(key === "minimum" && value === Number.MIN_SAFE_INTEGER) &&
      !(key === "maximum" && value === Number.MAX_SAFE_INTEGER),
  );
  const next: SchemaNode = Object.fromEntries(kept);
  if (next.properties) next.properties = eachProperty(next.properties, tidy);
  if (next.items) next.items = tidy(next.items);
  if (typeof next.additionalProperties === "object") {
    next.additionalProperties = tidy(next.additionalProperties);
  }
  return next;
}

function eachProperty(
  properties: Record<string, SchemaNode>,
  change: (node: SchemaNode) => SchemaNode,
): Record<string, SchemaNode> {
  return Object.fromEntries(
    Object.entries(properties).map(([name, child]) => [name, change(child)]),
  );
}
