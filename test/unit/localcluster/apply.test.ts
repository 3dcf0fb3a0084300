import fc from "fast-check";
import { expect, test } from "vitest";
import { applyIntent, recordUpdate } from "#localcluster/apply.ts";
import {
  compare,
  fieldSetOf,
  fromFieldsV1,
  pathText,
  toFieldsV1,
} from "#localcluster/field-set.ts";
import type { StoredObject } from "#localcluster/object.ts";
import type { Schema } from "#localcluster/schema.ts";

const text: Schema = { type: "string" };
const SCHEMA: Schema = {
  type: "object",
  properties: {
    apiVersion: text,
    kind: text,
    metadata: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    spec: {
      type: "object",
      properties: {
        color: text,
        labels: { type: "object", additionalProperties: text },
        words: { type: "array", items: text },
        tags: { type: "array", items: text, "x-kubernetes-list-type": "set" },
        items: {
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["name"],
          items: { type: "object", properties: { name: text, value: text } },
        },
      },
    },
  },
};

const names = fc.constantFrom("a", "b", "c.d/e", "f\ng", "constructor");
const specs = fc.record(
  {
    color: names,
    labels: fc.dictionary(names, names, { noNullPrototype: true }),
    words: fc.array(names),
    tags: fc.uniqueArray(names),
    items: fc.uniqueArray(fc.record({ name: names, value: names }, { requiredKeys: ["name"] }), {
      selector: ({ name }) => name,
    }),
  },
  { requiredKeys: [] },
);
const objectOf = (spec: object): StoredObject => ({
  apiVersion: "t/v1",
  kind: "T",
  metadata: { name: "o" },
  spec,
});
const writer = (manager: string) => ({
  manager,
  apiVersion: "t/v1",
  subresource: "",
  time: "2026-01-01T00:00:00Z",
});
const apply = (live: StoredObject | undefined, spec: object, manager = "m", force = false) =>
  applyIntent({ live, config: objectOf(spec), schema: SCHEMA, writer: writer(manager), force });

test("a field set survives its wire form", () => {
  fc.assert(
    fc.property(specs, (spec) => {
      const set = fieldSetOf(objectOf(spec), SCHEMA);
      expect(fromFieldsV1(JSON.parse(JSON.stringify(toFieldsV1(set))))).toEqual(set);
    }),
  );
});

test("applying the same twice changes nothing", () => {
  fc.assert(
    fc.property(specs, (spec) => {
      const once = apply(undefined, spec);
      expect(apply(once, spec)).toEqual(once);
    }),
  );
});

test("a sole manager's object is exactly what it applied last", () => {
  fc.assert(
    fc.property(specs, specs, (first, second) => {
      const { spec } = apply(apply(undefined, first), second);
      const { added, modified, removed } = compare(
        objectOf(spec as object),
        objectOf(second),
        SCHEMA,
      );
      // Containers that were applied empty own nothing and may stay away.
      expect([...modified]).toEqual([]);
      for (const path of [...added, ...removed]) expect(path).toMatch(/f:(labels|tags|items)$/);
    }),
  );
});

test("what one manager applied, another never removes", () => {
  fc.assert(
    fc.property(specs, specs, specs, (mine, theirs, less) => {
      const shared = apply(apply(apply(undefined, mine, "a"), theirs, "b", true), mine, "a", true);
      const left = fieldSetOf(apply(shared, less, "b", true), SCHEMA);
      const lost = [...fieldSetOf(objectOf(mine), SCHEMA)].filter((path) => !left.has(path));
      // A container that was applied empty is no path of its own once somebody fills it.
      for (const path of lost) expect(path).toMatch(/f:(spec|labels)$/);
    }),
  );
});

test("an empty spec that is applied stays", () => {
  expect(apply(apply(undefined, { color: "red" }), {}).spec).toEqual({});
});

test("an update takes over exactly what it changed", () => {
  const live = apply(undefined, { color: "red", labels: { a: "1" } }, "a");
  const next = { ...live, spec: { color: "blue", labels: { a: "1" } } };
  const { metadata } = recordUpdate({ live, next, schema: SCHEMA, writer: writer("u") });
  expect(metadata.managedFields).toMatchObject([
    { manager: "a", operation: "Apply", fieldsV1: { "f:spec": { "f:labels": { "f:a": {} } } } },
    { manager: "u", operation: "Update", fieldsV1: { "f:spec": { "f:color": {} } } },
  ]);
});

test("update managers are bounded", () => {
  let live = objectOf({});
  for (let count = 0; count < 15; count += 1) {
    const next = {
      ...live,
      spec: { labels: { ...(live.spec as { labels?: object }).labels, [`k${count}`]: "v" } },
    };
    live = recordUpdate({ live, next, schema: SCHEMA, writer: writer(`m${count}`) });
  }
  expect(live.metadata.managedFields).toHaveLength(10);
  expect(JSON.stringify(live.metadata.managedFields?.[0])).toContain("ancient-changes");
});

test("paths read as kubectl shows them", () => {
  const set = fieldSetOf(objectOf({ items: [{ name: "a", value: "v" }], tags: ["x"] }), SCHEMA);
  const shown = [...set].map(pathText);
  expect(shown).toContain('.spec.items[name="a"].value');
  expect(shown).toContain('.spec.tags[="x"]');
});
