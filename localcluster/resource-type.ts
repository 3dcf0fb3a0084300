import type { Rules } from "./core-rules.ts";
import type { StoredObject } from "./object.ts";
import type { Schema } from "./schema.ts";
import type { Target } from "./status.ts";
import type { Column } from "./table.ts";

/** One served resource: a built-in kind or one version of a CustomResourceDefinition. */
export interface ResourceType extends Target {
  version: string;
  singular: string;
  namespaced: boolean;
  shortNames: string[];
  categories: string[];
  /** Whether `/status` is a resource of its own. */
  hasStatus: boolean;
  /** Whether `metadata.generation` counts changes of the intent. */
  hasGeneration: boolean;
  custom: boolean;
  /** Of the whole object, references resolved. */
  schema: Schema;
  /** Name of the schema in OpenAPI: `v1.Pod`. */
  schemaName: string;
  columns: Column[];
  /** `group/plural` under which objects are stored. */
  storage: string;
  rules: Rules;
  /** How the stored form reads in this version, and back; absent = the same. */
  fromStored?: (object: StoredObject) => StoredObject;
  toStored?: (object: StoredObject) => StoredObject;
}

/** `v1`, `argus.dev/v1alpha1` */
export function apiVersionOf({ group, version }: { group: string; version: string }): string {
  return group ? `${group}/${version}` : version;
}
