import { expect, test } from "vitest";
import { z } from "zod";
import { described } from "#crds/field-words.ts";
import { customResourceDefinitions } from "#crds/kinds.ts";
import { structuralSchema } from "#crds/structural.ts";

type Json = Record<string, unknown>;

function walk(node: Json, path: string, visit: (node: Json, path: string) => void): void {
  visit(node, path);
  for (const [key, child] of Object.entries((node.properties ?? {}) as Record<string, Json>)) {
    walk(child, `${path}.${key}`, visit);
  }
  if (node.items) walk(node.items as Json, `${path}[]`, visit);
  if (typeof node.additionalProperties === "object") {
    walk(node.additionalProperties as Json, `${path}.*`, visit);
  }
}

const schemas = customResourceDefinitions().map((crd) => {
  const spec = crd.spec as {
    names: { kind: string };
    versions: { schema: { openAPIV3Schema: Json } }[];
  };
  return { kind: spec.names.kind, schema: spec.versions[0]?.schema.openAPIV3Schema ?? {} };
});

test.each(schemas)(
  "$kind: every string, list and map has a bound, so CEL costs stay low",
  ({ schema }) => {
    const unbounded: string[] = [];
    walk(schema, "", (node, path) => {
      if (node["x-kubernetes-preserve-unknown-fields"]) return;
      if (
        node.type === "string" &&
        !node.enum &&
        !node.maxLength &&
        !node.format &&
        !node.pattern
      ) {
        unbounded.push(path);
      }
      if (node.type === "array" && !node.maxItems) unbounded.push(path);
    });
    expect(unbounded.filter((path) => !/^\.(kind|apiVersion|metadata)/.test(path))).toEqual([]);
  },
);

test.each(schemas)(
  "$kind: kubectl explain tells what each field of the spec means",
  ({ schema }) => {
    const spec = (schema.properties as Record<string, Json>).spec?.properties as Record<
      string,
      Json
    >;
    const silent = Object.keys(spec).filter((name) => !spec[name]?.description);
    expect(silent).toEqual([]);
  },
);

test("a meaning of a field that is not there is refused", () => {
  const schema = { type: "object", properties: { a: { type: "string" } } };
  expect(described(structuredClone(schema), { a: "first" })).toMatchObject({
    properties: { a: { description: "first" } },
  });
  expect(() => described(schema, { b: "gone" })).toThrow("b: the schema has no such field");
});

test.each(schemas)("$kind: no field has a name that YAML 1.1 reads as a boolean", ({ schema }) => {
  const wrong: string[] = [];
  walk(schema, "", (_, path) => {
    if (/\.(n|y|on|off|yes|no)$/.test(path)) wrong.push(path);
  });
  expect(wrong).toEqual([]);
});

test.each(schemas)(
  "$kind: a parent's default spells out the fields that its rules name",
  ({ schema }) => {
    const missing: string[] = [];
    walk(schema, "", (node, path) => {
      if (!node.default || typeof node.default !== "object" || Array.isArray(node.default)) return;
      const rules = (node["x-kubernetes-validations"] ?? []) as { rule: string }[];
      for (const field of rules.flatMap(({ rule }) => [...rule.matchAll(/self\.(\w+) /g)])) {
        if (!(String(field[1]) in node.default)) missing.push(`${path}: ${field[1]}`);
      }
    });
    expect(missing).toEqual([]);
  },
);

test("a union has no structural form and is refused with its path", () => {
  const schema = z.object({ a: z.object({ b: z.union([z.string(), z.number()]) }) });
  expect(() => structuralSchema(schema)).toThrow(".a.b: anyOf has no structural form");
});

test("the regular expression that zod adds to a date-time is dropped", () => {
  const schema = structuralSchema(z.object({ at: z.iso.datetime() })) as {
    properties: { at: Json };
  };
  expect(schema.properties.at).toEqual({ type: "string", format: "date-time" });
});
