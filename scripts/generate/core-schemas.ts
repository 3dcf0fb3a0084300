import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as models from "@kubernetes/client-node";

/** `localcluster/core-schemas.gen.json`: the shape of the built-in kinds, read from client-node's models. */

type Node = Record<string, unknown>;
interface Attribute {
  name: string;
  baseName: string;
  type: string;
  format: string;
}

const KINDS = [
  ..."Pod PersistentVolumeClaim Secret ConfigMap ServiceAccount Namespace Node Service Lease"
    .split(" ")
    .map((kind) => `V1${kind}`),
  ..."NetworkPolicy StorageClass CustomResourceDefinition TokenReview SelfSubjectReview"
    .split(" ")
    .map((kind) => `V1${kind}`),
  "V1SelfSubjectAccessReview",
  "V1Binding",
  "CoreV1Event",
  "EventsV1Event",
  "AuthenticationV1TokenRequest",
  "V1ObjectMeta",
  "V1ListMeta",
];
/** Recursive or free-form: every object fits. */
const OPEN = new Set(["V1JSONSchemaProps", "any", "object"]);

const modelFolder = join(
  fileURLToPath(import.meta.resolve("@kubernetes/client-node")),
  "../gen/models",
);

/** `V1PodSpec` → `v1.PodSpec`, `EventsV1Event` → `events.v1.Event`. */
const schemaName = (type: string) =>
  type === "CoreV1Event"
    ? "v1.Event"
    : type.replace(
        /^([A-Z][a-z]+)?V1(?=[A-Z])/,
        (_, group: string | undefined) => `${group ? `${group.toLowerCase()}.` : ""}v1.`,
      );

function attributes(type: string): Attribute[] | undefined {
  const model = (models as Record<string, unknown>)[type] as
    | { getAttributeTypeMap?: () => Attribute[] }
    | undefined;
  return model?.getAttributeTypeMap?.();
}

function nodeOf(type: string, format: string, found: Map<string, Node>): Node {
  const list = /^Array<(.*)>$/.exec(type)?.[1];
  if (list) return { type: "array", items: nodeOf(list, format, found) };
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type)?.[1];
  if (map) return { type: "object", additionalProperties: nodeOf(map, format, found) };
  const simple = simpleNode(type, format);
  if (simple) return simple;
  collect(type, found);
  return { $ref: schemaName(type) };
}

function simpleNode(type: string, format: string): Node | undefined {
  if (OPEN.has(type)) return { "x-kubernetes-preserve-unknown-fields": true };
  if (type === "IntOrString" || format === "int-or-string") {
    return { "x-kubernetes-int-or-string": true };
  }
  if (["Date", "V1MicroTime"].includes(type)) return { type: "string", format: "date-time" };
  if (type === "number") return format === "double" ? { type } : { type: "integer", format };
  if (type === "boolean") return { type };
  return type === "string" ? { type, ...(format === "byte" && { format }) } : undefined;
}

function collect(type: string, found: Map<string, Node>): void {
  const name = schemaName(type);
  const fields = attributes(type);
  if (found.has(name)) return;
  if (!fields) throw new Error(`client-node has no model ${type}`);
  const schema: Node = { type: "object" };
  found.set(name, schema);
  const declaration = readFileSync(join(modelFolder, `${type}.d.ts`), "utf8");
  const required = fields.filter(({ name }) => declaration.includes(`'${name}': `));
  if (required.length > 0) schema.required = required.map(({ baseName }) => baseName);
  schema.properties = Object.fromEntries(
    fields.map(({ baseName, type, format }) => [baseName, nodeOf(type, format, found)]),
  );
}

/** The file's whole text. */
export function coreSchemas(): string {
  const found = new Map<string, Node>();
  for (const kind of KINDS) collect(kind, found);
  const sorted = [...found].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const lines = sorted.map(([name, node]) => `${JSON.stringify(name)}:${JSON.stringify(node)}`);
  return `{\n${lines.join(",\n")}\n}\n`;
}
