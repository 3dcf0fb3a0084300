import { errorMessage } from "#lib/errors.ts";
import { compileError } from "./cel.ts";
import { coreSchema } from "./core-schema.ts";
import {
  at,
  type Fields,
  fieldsOf,
  isFields,
  type StoredObject,
  textOf,
  timestamp,
} from "./object.ts";
import type { ResourceType } from "./resource-type.ts";
import { joined, type Schema } from "./schema.ts";
import { type FieldError, invalidValue, required } from "./status.ts";
import { type CustomColumn, customColumns } from "./table.ts";
import { patternOf } from "./validate.ts";

interface Names {
  kind: string;
  listKind?: string;
  plural: string;
  singular?: string;
  shortNames?: string[];
  categories?: string[];
}

interface Version {
  name: string;
  served: boolean;
  storage: boolean;
  schema?: { openAPIV3Schema?: Schema };
  subresources?: { status?: object };
  additionalPrinterColumns?: CustomColumn[];
}

interface Definition {
  group: string;
  scope: "Namespaced" | "Cluster";
  names: Names;
  versions: Version[];
}

const specOf = (crd: StoredObject) => crd.spec as Definition;

/** The types that a stored CustomResourceDefinition makes served. */
export function customTypes(crd: StoredObject): ResourceType[] {
  const { group, scope, names, versions } = specOf(crd);
  return versions
    .filter(({ served }) => served)
    .map((version) => ({
      group,
      version: version.name,
      kind: names.kind,
      plural: names.plural,
      singular: names.singular ?? names.kind.toLowerCase(),
      namespaced: scope === "Namespaced",
      shortNames: names.shortNames ?? [],
      categories: names.categories ?? [],
      hasStatus: version.subresources?.status !== undefined,
      hasGeneration: true,
      custom: true,
      schema: wholeSchema(version.schema?.openAPIV3Schema),
      schemaName: [...group.split(".").toReversed(), version.name, names.kind].join("."),
      columns: customColumns(version.additionalPrinterColumns),
      storage: `${group}/${names.plural}`,
      rules: {},
    }));
}

/** With the metadata that every object has, whatever the definition says of it. */
function wholeSchema(schema: Schema | undefined): Schema {
  const root: Schema = schema ?? { "x-kubernetes-preserve-unknown-fields": true };
  return {
    ...root,
    type: "object",
    properties: {
      ...root.properties,
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: coreSchema("v1.ObjectMeta"),
    },
  };
}

/** Why a definition is refused; the same rules that keep a structural schema decidable. */
export function definitionErrors(crd: StoredObject): FieldError[] {
  const { group, names, versions } = specOf(crd);
  const expected = `${names?.plural}.${group}`;
  const errors: FieldError[] =
    crd.metadata.name === expected
      ? []
      : [
          invalidValue(
            "metadata.name",
            crd.metadata.name,
            `must be spec.names.plural+"."+spec.group`,
          ),
        ];
  if (versions.filter(({ storage }) => storage).length !== 1) {
    const why = "must have exactly one version marked as storage version";
    errors.push(
      invalidValue(
        "spec.versions",
        versions.map(({ name }) => name),
        why,
      ),
    );
  }
  versions.forEach((version, index) => {
    const path = `spec.versions[${index}]`;
    const schema = version.schema?.openAPIV3Schema;
    if (schema) errors.push(...schemaErrors(schema, `${path}.schema.openAPIV3Schema`));
    else errors.push(required(`${path}.schema.openAPIV3Schema`, "schemas are required"));
    errors.push(...columnErrors(version, path));
  });
  return errors;
}

const COMBINATORS = ["oneOf", "anyOf", "allOf", "not", "$ref"];

function schemaErrors(schema: Schema, path: string): FieldError[] {
  const errors = COMBINATORS.filter((key) => key in schema).map((key) =>
    invalidValue(joined(path, key), key, "this server evaluates no combinators: use a CEL rule"),
  );
  const open =
    schema["x-kubernetes-preserve-unknown-fields"] || schema["x-kubernetes-int-or-string"];
  if (!schema.type && !open) {
    errors.push(required(`${path}.type`, "must not be empty for specified object fields"));
  }
  const broken = schema.pattern === undefined ? undefined : patternError(schema.pattern);
  if (broken) errors.push(invalidValue(joined(path, "pattern"), schema.pattern, broken));
  (schema["x-kubernetes-validations"] ?? []).forEach(({ rule }, index) => {
    const why = compileError(rule);
    const field = `${path}.x-kubernetes-validations[${index}].rule`;
    if (why) errors.push(invalidValue(field, rule, `compilation failed: ${why}`));
  });
  return [
    ...errors,
    ...childSchemas(schema).flatMap(([key, child]) => schemaErrors(child, joined(path, key))),
  ];
}

function patternError(pattern: string): string | undefined {
  try {
    patternOf(pattern);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

function childSchemas({
  properties,
  items,
  additionalProperties: extra,
}: Schema): [string, Schema][] {
  const members = Object.entries(properties ?? {}).map(([key, child]): [string, Schema] => [
    `properties[${key}]`,
    child,
  ]);
  return [
    ...members,
    ...(items ? [["items", items] as [string, Schema]] : []),
    ...(isFields(extra) ? [["additionalProperties", extra] as [string, Schema]] : []),
  ];
}

function columnErrors(version: Version, path: string): FieldError[] {
  try {
    customColumns(version.additionalPrinterColumns);
    return [];
  } catch (error) {
    return [invalidValue(`${path}.additionalPrinterColumns`, version.name, errorMessage(error))];
  }
}

/** Fills in names, and the status that says the definition is served. */
export function prepareDefinition(crd: StoredObject, old: StoredObject | undefined): void {
  const spec = fieldsOf(crd.spec);
  const names = fieldsOf(spec.names);
  names.singular ??= textOf(names.kind).toLowerCase();
  names.listKind ??= `${textOf(names.kind)}List`;
  spec.conversion ??= { strategy: "None" };
  if (!Array.isArray(spec.versions)) return;
  crd.status = {
    acceptedNames: names,
    conditions: [
      condition("NamesAccepted", "NoConflicts", "no conflicts found", old),
      condition("Established", "InitialNamesAccepted", "the initial names have been accepted", old),
    ],
    storedVersions: spec.versions
      .filter((version) => at(version, "storage") === true)
      .map((version) => at(version, "name")),
  };
}

function condition(
  type: string,
  reason: string,
  message: string,
  old: StoredObject | undefined,
): Fields {
  const list = at(old, "status", "conditions");
  const before = Array.isArray(list) ? list.find((each) => at(each, "type") === type) : undefined;
  const lastTransitionTime = at(before, "lastTransitionTime") ?? timestamp(Date.now());
  return { type, status: "True", lastTransitionTime, reason, message };
}
