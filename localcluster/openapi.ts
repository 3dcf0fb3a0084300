import { coreDefinitions } from "./core-schema.ts";
import { type Fields, isFields } from "./object.ts";
import { apiVersionOf, type ResourceType } from "./resource-type.ts";

type Types = readonly ResourceType[];

const base = ({ group, version }: { group: string; version: string }) =>
  group ? `apis/${group}/${version}` : `api/${version}`;
const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });

/** `/openapi/v3`: where the document of each group and version is. The number changes with every definition. */
export function openApiIndex(types: Types, revision: number) {
  const folders = [...new Set(types.map(base))];
  const entries = folders.map((path) => [
    path,
    { serverRelativeURL: `/openapi/v3/${path}?hash=${revision}` },
  ]);
  return { paths: Object.fromEntries(entries) };
}

/** `/openapi/v3/{path}`, for example `api/v1`; undefined when it is not served. */
export function openApiDocument(types: Types, path: string) {
  const served = types.filter((type) => base(type) === path);
  if (served.length === 0) return undefined;
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "v1.35.0" },
    paths: Object.fromEntries(served.flatMap(pathsOf)),
    components: { schemas: schemasOf(served) },
  };
}

const parameter = (name: string) => ({
  name,
  in: "query",
  schema: { type: "string", uniqueItems: true },
});
const WRITE_PARAMETERS = ["dryRun", "fieldManager", "fieldValidation"].map(parameter);
const APPLY_PARAMETERS = [
  ...WRITE_PARAMETERS,
  { ...parameter("force"), schema: { type: "boolean" } },
];

function pathsOf(type: ResourceType): [string, object][] {
  const scope = type.namespaced ? "/namespaces/{namespace}" : "";
  const collection = `/${base(type)}${scope}/${type.plural}`;
  const { group, version, kind } = type;
  const operation = (action: string, parameters: object[]) => ({
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": { group, version, kind },
    parameters,
    responses: {
      200: {
        description: "OK",
        content: { "application/json": { schema: reference(type.schemaName) } },
      },
    },
  });
  const post = operation("post", WRITE_PARAMETERS);
  return [
    [collection, { get: operation("list", []), post }],
    [
      `${collection}/{name}`,
      {
        get: operation("get", []),
        put: operation("put", WRITE_PARAMETERS),
        patch: operation("patch", APPLY_PARAMETERS),
        delete: operation("delete", [parameter("dryRun")]),
      },
    ],
  ];
}

function schemasOf(types: Types): Fields {
  const schemas: Fields = {};
  for (const type of types) {
    const { group, version, kind, custom } = type;
    if (!custom) include(type.schemaName, schemas);
    const own = custom ? customSchema(type, schemas) : (schemas[type.schemaName] as Fields);
    schemas[type.schemaName] = {
      ...own,
      "x-kubernetes-group-version-kind": [{ group, version, kind }],
    };
  }
  return schemas;
}

function customSchema(type: ResourceType, schemas: Fields): Fields {
  include("v1.ObjectMeta", schemas);
  const { properties } = type.schema;
  return {
    ...type.schema,
    description: `${type.kind} is a custom resource of ${apiVersionOf(type)}.`,
    properties: { ...properties, metadata: reference("v1.ObjectMeta") },
  };
}

/** Puts a built-in schema and everything it refers to among `schemas`. */
function include(name: string, schemas: Fields): void {
  if (schemas[name]) return;
  schemas[name] = {};
  schemas[name] = translated(coreDefinitions[name], schemas);
}

function translated(node: unknown, schemas: Fields): unknown {
  if (Array.isArray(node)) return node.map((each) => translated(each, schemas));
  if (!isFields(node)) return node;
  if (typeof node.$ref === "string") {
    include(node.$ref, schemas);
    return reference(node.$ref);
  }
  const entries = Object.entries(node).map(([key, child]) => [key, translated(child, schemas)]);
  return { ...Object.fromEntries(entries), ...mergeHints(node) };
}

/** The same list-map, in the older words that strategic merge patches are computed from. */
function mergeHints(node: Fields): Fields {
  const keys = node["x-kubernetes-list-map-keys"];
  const type = node["x-kubernetes-list-type"];
  if (type === "set") return { "x-kubernetes-patch-strategy": "merge" };
  if (!Array.isArray(keys)) return {};
  return { "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": keys[0] };
}
