import { stringify } from "yaml";
import { code, markdownTable } from "../generate/markdown.ts";
import { type SchemaNode, valuesSchema } from "./schema.ts";

/** Values of the parent chart are none of ours. */
const FOREIGN = "global";

/** `values.yaml`: every key with its meaning above it. */
export function valuesYaml(): string {
  return [
    "# Generated from scripts/chart/values.ts by npm run generate.",
    ...block(valuesSchema(), ""),
  ]
    .join("\n")
    .concat("\n");
}

function block({ properties = {} }: SchemaNode, indent: string): string[] {
  return Object.entries(properties)
    .filter(([name]) => name !== FOREIGN)
    .flatMap(([name, node]) => [
      ...(indent === "" ? [""] : []),
      ...(node.description ? [`${indent}# ${meaning(node)}`] : []),
      ...entry(name, node, indent),
    ]);
}

function entry(name: string, node: SchemaNode, indent: string): string[] {
  if (isGroup(node)) return [`${indent}${name}:`, ...block(node, `${indent}  `)];
  const value = stringify(node.default, { lineWidth: 0, collectionStyle: "flow" }).trim();
  return [`${indent}${name}: ${value}`];
}

/** A group has keys of its own; a value has a default. */
const isGroup = (node: SchemaNode) => node.properties !== undefined && node.default === undefined;

function meaning({ description = "", enum: choices, minimum, maximum }: SchemaNode): string {
  if (choices) return `${description}: ${choices.join(", ")}`;
  return minimum === undefined ? description : `${description} (${minimum} to ${maximum})`;
}

/** The table of all values for the docs. */
export function valuesTable(): string {
  return markdownTable(["value", "default", "meaning"], rows(valuesSchema(), ""));
}

function rows({ properties = {} }: SchemaNode, prefix: string): string[][] {
  return Object.entries(properties)
    .filter(([name]) => prefix !== "" || name !== FOREIGN)
    .flatMap(([name, node]) => {
      const path = `${prefix}${name}`;
      if (isGroup(node)) return rows(node, `${path}.`);
      return [[code(path), code(shown(node.default)), meaning(node)]];
    });
}

function shown(value: unknown): string {
  return value === "" ? "" : typeof value === "string" ? value : JSON.stringify(value);
}
