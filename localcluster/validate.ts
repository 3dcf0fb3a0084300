import { isDeepStrictEqual } from "node:util";
import { type Fields, isFields } from "./object.ts";
import { hasRules, ruleErrors } from "./rules.ts";
import { identityOf, joined, memberSchema, oldItems, type Schema } from "./schema.ts";
import { type FieldError, invalidValue, required } from "./status.ts";

/** After one of these the rules are not looked at: they may assume a value of the right shape. */
const BLOCKING = new Set<FieldError["reason"]>([
  "FieldValueRequired",
  "FieldValueNotSupported",
  "FieldValueTooLong",
  "FieldValueTooMany",
  "FieldValueTypeInvalid",
]);

const NOT_CHECKED: FieldError = {
  reason: "FieldValueInvalid",
  field: "<nil>",
  message:
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
};

/**
 * Every way in which `value` breaks its schema and the schema's rules. A part that equals its old value is not checked
 * again (what was accepted once stays acceptable), but for the transition rules on the way to it.
 */
export function validate(value: unknown, schema: Schema, old?: unknown): FieldError[] {
  const errors = schemaErrors(value, schema, "", old);
  if (!hasRules(schema)) return errors;
  if (errors.some(({ reason }) => BLOCKING.has(reason))) return [...errors, NOT_CHECKED];
  return [...errors, ...ruleErrors(value, schema, "", old)];
}

function schemaErrors(value: unknown, schema: Schema, path: string, old: unknown): FieldError[] {
  if (old !== undefined && isDeepStrictEqual(value, old)) return [];
  const wrong = typeError(value, schema, path);
  if (wrong) return [wrong];
  if (value === null) return [];
  return [...boundErrors(value, schema, path), ...childErrors(value, schema, path, old)];
}

const shown = (path: string) => path || "<nil>";

function jsonType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function typeError(value: unknown, schema: Schema, path: string): FieldError | undefined {
  const actual = jsonType(value);
  if (schema["x-kubernetes-int-or-string"]) {
    if (actual === "integer" || actual === "string") return undefined;
    return wrongType(path, "integer,string", actual);
  }
  if (!schema.type || (value === null && schema.nullable)) return undefined;
  if (actual === schema.type || (actual === "integer" && schema.type === "number")) {
    return formatError(value, schema, path);
  }
  return wrongType(path, schema.type, actual);
}

const wrongType = (path: string, wanted: string, actual: string): FieldError => ({
  reason: "FieldValueTypeInvalid",
  field: shown(path),
  message: `Invalid value: ${JSON.stringify(actual)}: ${path} in body must be of type ${wanted}: ${JSON.stringify(actual)}`,
});

const DATE_TIME = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;
const INT32_MAX = 2 ** 31;

function formatError(value: unknown, { format }: Schema, path: string): FieldError | undefined {
  if (format === "date-time" && typeof value === "string") {
    if (DATE_TIME.test(value) && !Number.isNaN(Date.parse(value))) return undefined;
    return invalidValue(path, value, `${path} in body must be of type date-time: "${value}"`);
  }
  const tooWide = typeof value === "number" && (value >= INT32_MAX || value < -INT32_MAX);
  if (format === "int32" && tooWide) {
    return invalidValue(path, value, `${path} in body must be of type int32: "${value}"`);
  }
  return undefined;
}

function boundErrors(value: unknown, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const bad = (detail: string) =>
    errors.push(invalidValue(path, value, `${path} in body ${detail}`));
  if (schema.enum && !schema.enum.some((each) => isDeepStrictEqual(each, value))) {
    errors.push(unsupported(path, value, schema.enum));
  }
  if (typeof value === "number") numberBounds(value, schema, bad);
  if (typeof value === "string") errors.push(...stringErrors(value, schema, path, bad));
  const size = Array.isArray(value)
    ? value.length
    : isFields(value)
      ? Object.keys(value).length
      : undefined;
  if (size !== undefined) errors.push(...sizeErrors(size, schema, path, bad));
  return errors;
}

const unsupported = (field: string, value: unknown, allowed: unknown[]): FieldError => ({
  reason: "FieldValueNotSupported",
  field,
  message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${allowed
    .map((each) => JSON.stringify(each))
    .join(", ")}`,
});

function numberBounds(value: number, schema: Schema, bad: (detail: string) => void): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
  if (minimum !== undefined && (exclusiveMinimum ? value <= minimum : value < minimum)) {
    bad(`should be greater than ${exclusiveMinimum ? "" : "or equal to "}${minimum}`);
  }
  if (maximum !== undefined && (exclusiveMaximum ? value >= maximum : value > maximum)) {
    bad(`should be less than ${exclusiveMaximum ? "" : "or equal to "}${maximum}`);
  }
  if (multipleOf && value % multipleOf !== 0) bad(`should be a multiple of ${multipleOf}`);
}

function stringErrors(
  value: string,
  schema: Schema,
  path: string,
  bad: (detail: string) => void,
): FieldError[] {
  // Characters, not UTF-16 units.
  const length = Array.from(value).length;
  if (length < (schema.minLength ?? 0)) bad(`should be at least ${schema.minLength} chars long`);
  if (schema.pattern && !patternOf(schema.pattern).test(value)) {
    bad(`should match '${schema.pattern}'`);
  }
  if (length <= (schema.maxLength ?? Number.POSITIVE_INFINITY)) return [];
  const message = `Too long: may not be more than ${schema.maxLength} bytes`;
  return [{ reason: "FieldValueTooLong", field: path, message }];
}

/** Patterns are written for another engine: what its strict form refuses is read in the lax one. */
export function patternOf(pattern: string): RegExp {
  try {
    return new RegExp(pattern, "u");
  } catch {
    return new RegExp(pattern);
  }
}

function sizeErrors(
  size: number,
  schema: Schema,
  path: string,
  bad: (detail: string) => void,
): FieldError[] {
  const list = schema.type === "array";
  const least = (list ? schema.minItems : schema.minProperties) ?? 0;
  const most = (list ? schema.maxItems : schema.maxProperties) ?? Number.POSITIVE_INFINITY;
  if (size < least) bad(`should have at least ${least} ${list ? "items" : "properties"}`);
  if (size <= most) return [];
  const message = `Too many: ${size}: must have at most ${most} items`;
  return [{ reason: "FieldValueTooMany", field: path, message }];
}

function childErrors(value: unknown, schema: Schema, path: string, old: unknown): FieldError[] {
  if (Array.isArray(value)) return listErrors(value, schema, path, old);
  if (!isFields(value)) return [];
  const before: Fields = isFields(old) ? old : {};
  const missing = (schema.required ?? []).filter((key) => value[key] === undefined);
  return [
    ...missing.map((key) => required(joined(path, key))),
    ...Object.entries(value).flatMap(([key, child]) => {
      const member = memberSchema(schema, key);
      return member ? schemaErrors(child, member, joined(path, key), before[key]) : [];
    }),
  ];
}

function listErrors(list: unknown[], schema: Schema, path: string, old: unknown): FieldError[] {
  const type = schema["x-kubernetes-list-type"];
  const before = oldItems(old, schema);
  const seen = new Set<string>();
  return list.flatMap((item, index) => {
    const place = `${path}[${index}]`;
    const key = identityOf(item, schema);
    const errors = schema.items ? schemaErrors(item, schema.items, place, before.get(key)) : [];
    if ((type === "map" || type === "set") && seen.has(key)) errors.push(duplicate(place, key));
    seen.add(key);
    return errors;
  });
}

const duplicate = (field: string, key: string): FieldError => ({
  reason: "FieldValueDuplicate",
  field,
  message: `Duplicate value: ${key}`,
});
