import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { CHART, template, type Values } from "#test/support/chart.ts";
import type { SchemaNode } from "../../scripts/chart/schema.ts";
import { valuesSchema } from "../../scripts/chart/schema.ts";
import { ChartValues } from "../../scripts/chart/values.ts";
import { merge, nested, OTHER } from "./other-values.ts";
import { VALUE_SETS } from "./value-sets.ts";

const written = parse(readFileSync(join(CHART, "values.yaml"), "utf8")) as object;

/** Paths of all values of the schema. */
function paths({ properties = {} }: SchemaNode, prefix = ""): string[] {
  return Object.entries(properties).flatMap(([name, node]) =>
    node.properties && node.default === undefined
      ? paths(node, `${prefix}${name}.`)
      : [`${prefix}${name}`],
  );
}
const PATHS = paths(valuesSchema()).filter((path) => path !== "global");

const at = (values: unknown, path: string): unknown =>
  path.split(".").reduce((node, key) => (node as Record<string, unknown>)?.[key], values);

test("values.yaml holds every key of the schema with its default, and no other", () => {
  const keys = (node: unknown, prefix: string): string[] =>
    Object.entries(node as object).flatMap(([name, child]) => {
      const path = `${prefix}${name}`;
      return PATHS.includes(path) ? [path] : keys(child, `${path}.`);
    });
  expect(keys(written, "")).toEqual(PATHS);
  expect(ChartValues.parse({})).toEqual(written);
});

test("the sets that the chart is tested with are valid by the same schema", () => {
  for (const values of Object.values(VALUE_SETS)) {
    expect(ChartValues.safeParse(values).error).toBeUndefined();
  }
});

const NO_CRDS: Values = { crds: { enabled: false } };

async function text(values: object): Promise<string> {
  const { code, stdout, stderr } = await template(values);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

test("every value changes what is rendered", { timeout: 180_000 }, async () => {
  expect(Object.keys(OTHER).sort()).toEqual([...PATHS].sort());
  // The made token would differ each time.
  const fixed: Values = { adminToken: { existingSecret: "own" } };
  const bases = new Map<string, Promise<string>>();
  const idle: string[] = [];
  for (const [path, [value, beside = {}]] of Object.entries(OTHER)) {
    // The definitions are long and only two values concern them.
    const base = merge(fixed, path.startsWith("crds.") ? beside : merge(NO_CRDS, beside));
    const key = JSON.stringify(base);
    const before = bases.get(key) ?? text(base);
    bases.set(key, before);
    if ((await text(merge(base, nested(path, value)))) === (await before)) idle.push(path);
    expect({ path, same: at(written, path) === value }).toEqual({ path, same: false });
  }
  expect(idle).toEqual([]);
});
