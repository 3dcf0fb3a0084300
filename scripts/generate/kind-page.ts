import { API_VERSION, type Kind, specSchema } from "#crds/kinds.ts";
import { structuralSchema } from "#crds/structural.ts";
import { code, markdownTable } from "./markdown.ts";

interface Node {
  type?: string;
  format?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  required?: string[];
  properties?: Record<string, Node>;
  items?: Node;
  additionalProperties?: Node;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  maxItems?: number;
  "x-kubernetes-validations"?: { message?: string; rule: string }[];
}

/** The reference page of one kind: every field of spec and status with type, default, rules and meaning. */
export function kindPage(kind: Kind): string {
  const names = [kind.plural, kind.singular, ...kind.shortNames].map(code).join(", ");
  return [
    `# ${kind.kind}`,
    "",
    `Generated from \`crds/*.ts\` by \`npm run generate\`. \`apiVersion: ${API_VERSION}\`; kubectl names: ${names}.`,
    "",
    "## spec",
    "",
    ...(kind.words[""] ? [`${kind.words[""]}.`, ""] : []),
    fieldTable(specSchema(kind)),
    "",
    "## status",
    "",
    fieldTable(structuralSchema(kind.status)),
    "",
  ].join("\n");
}

function fieldTable(schema: Node): string {
  const rows = fieldsOf(schema, "");
  return markdownTable(["field", "type", "default", "meaning and rules"], rows);
}

function fieldsOf(node: Node, prefix: string): string[][] {
  return Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const path = prefix ? `${prefix}.${name}` : name;
    const needed = node.required?.includes(name) && child.default === undefined;
    return [rowOf(path, child, needed === true), ...childrenOf(child, path)];
  });
}

function childrenOf(node: Node, path: string): string[][] {
  if (node.items?.properties) return fieldsOf(node.items, `${path}[]`);
  return fieldsOf(node, path);
}

function rowOf(path: string, node: Node, needed: boolean): string[] {
  const value = node.default === undefined || node.properties ? "" : JSON.stringify(node.default);
  const words = [
    needed ? "**required**" : "",
    node.description ?? "",
    boundsOf(node),
    ...(node["x-kubernetes-validations"] ?? []).map(({ message, rule }) => message ?? rule),
  ];
  return [code(path), typeOf(node), code(value), words.filter(Boolean).join("; ")];
}

function typeOf(node: Node): string {
  if (node.enum) return node.enum.map((each) => code(String(each))).join(", ");
  if (node.items) return `list of ${typeOf(node.items)}`;
  if (node.additionalProperties) return `map of ${typeOf(node.additionalProperties)}`;
  return node.format === "date-time" ? "time" : (node.type ?? "any");
}

function boundsOf({ minimum, maximum, maxLength, maxItems }: Node): string {
  const range = [
    minimum === undefined ? "" : `at least ${minimum}`,
    maximum === undefined ? "" : `at most ${maximum}`,
    maxLength === undefined ? "" : `at most ${maxLength} characters`,
    maxItems === undefined ? "" : `at most ${maxItems} entries`,
  ];
  return range.filter(Boolean).join(", ");
}
