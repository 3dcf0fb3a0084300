import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { coreSchema } from "#localcluster/core-schema.ts";
import { jsonPath } from "#localcluster/json-path.ts";
import { mergePatch } from "#localcluster/patch.ts";
import { decodeProtobuf } from "#localcluster/protobuf.ts";
import { labelSelector } from "#localcluster/selectors.ts";
import { strategicMerge } from "#localcluster/strategic-merge.ts";
import { shortDuration } from "#localcluster/table.ts";
import { coreSchemas } from "../../../scripts/generate/core-schemas.ts";

test("the generated shapes are those of the installed client library", () => {
  const path = fileURLToPath(import.meta.resolve("#localcluster/core-schemas.gen.json"));
  expect(readFileSync(path, "utf8")).toBe(coreSchemas());
});

test.each([
  [5, "5s"],
  [119, "119s"],
  [200, "3m20s"],
  [42 * 60, "42m"],
  [3 * 3600 + 20 * 60, "3h20m"],
  [20 * 3600, "20h"],
  [2 * 86_400 + 3 * 3600, "2d3h"],
  [100 * 86_400, "100d"],
  [(3 * 365 + 40) * 86_400, "3y40d"],
])("%i seconds are shown as %s", (seconds, shown) => {
  expect(shortDuration(seconds * 1000)).toBe(shown);
});

const OBJECT = {
  a: {
    "b-c": [
      { type: "X", v: 1 },
      { type: "Y", v: 2 },
    ],
  },
  m: { k: "v" },
};

test.each([
  [".a.b-c[0].v", [1]],
  [".a.b-c[-1].v", [2]],
  [".a.b-c[*].v", [1, 2]],
  ['.a.b-c[?(@.type=="Y")].v', [2]],
  [".a.b-c[?(@.type=='Z')].v", []],
  [".m['k']", ["v"]],
  ["{.m.k}", ["v"]],
  [".none.k", []],
  [".m.constructor", []],
])("JSONPath %s", (path, found) => {
  expect(jsonPath(path)(OBJECT)).toEqual(found);
});

test("JSONPath refuses what it would have to evaluate", () => {
  for (const path of [".a[?(@.x > 1)]", "..a", ".a[(1+1)]", "a b", ".a[?(process.exit())]"]) {
    expect(() => jsonPath(path)).toThrow("unsupported JSONPath");
  }
});

test("a label selector that is none is 400", () => {
  for (const text of ["a==b==c", "a in b", "=x", "a,,b", "a notin"]) {
    expect(() => labelSelector(text)).toThrow("unable to parse requirement");
  }
});

test("a merge patch keeps a target's own keys and never its prototype", () => {
  expect(mergePatch({ a: 1, b: { c: 1 } }, { b: { c: null, d: 2 } })).toEqual({
    a: 1,
    b: { d: 2 },
  });
  mergePatch({}, JSON.parse('{"__proto__":{"polluted":1}}'));
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});

test("strategic merge: by key, deleted, replaced, retained and ordered", () => {
  const schema = coreSchema("v1.Pod");
  const container = (name: string, more: object = {}) => ({ name, ...more });
  const pod = {
    spec: {
      containers: [container("a", { env: [{ name: "X", value: "1" }] }), container("b")],
      volumes: [{ name: "v", emptyDir: {} }],
    },
  };
  const patched = (spec: object) => strategicMerge(pod, { spec }, schema) as typeof pod;
  const env = [{ name: "Y", value: "2" }];
  expect(patched({ containers: [{ name: "a", env }] }).spec.containers[0]).toEqual(
    container("a", { env: [{ name: "X", value: "1" }, ...env] }),
  );
  expect(patched({ containers: [{ name: "a", $patch: "delete" }] }).spec.containers).toEqual([
    container("b"),
  ]);
  expect(patched({ containers: [{ $patch: "replace" }, container("c")] }).spec.containers).toEqual([
    container("c"),
  ]);
  const order = { "$setElementOrder/containers": [{ name: "b" }, { name: "a" }] };
  expect(patched(order).spec.containers.map(({ name }) => name)).toEqual(["b", "a"]);
  const volumes = [{ name: "v", $retainKeys: ["name", "hostPath"], hostPath: { path: "/x" } }];
  expect(patched({ volumes }).spec.volumes).toEqual([{ name: "v", hostPath: { path: "/x" } }]);
});

test("broken protobuf is 400, never a crash or a long loop", () => {
  const envelope = Buffer.from("k8s\0\n\u000c\n\u0002v1\u0012\u0006Secret", "latin1");
  expect(() => decodeProtobuf(Buffer.from("nothing"))).toThrow("not Kubernetes protobuf");
  for (const tail of [[0x12, 0xff, 0xff, 0xff, 0x7f], [0x12], [0x0b], Array(20).fill(0xff)]) {
    expect(() => decodeProtobuf(Buffer.concat([envelope, Buffer.from(tail)]))).toThrow(
      "broken protobuf",
    );
  }
  const other = Buffer.from("k8s\0\n\u0009\n\u0002v1\u0012\u0003Pod", "latin1");
  expect(decodeProtobuf(other)).toBeUndefined();
});
