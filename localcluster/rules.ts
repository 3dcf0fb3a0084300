import { isDeepStrictEqual } from "node:util";
import { brokenRule, celValue, isTransition } from "./cel.ts";
import { type Fields, isFields } from "./object.ts";
import { type CelRule, identityOf, joined, memberSchema, oldItems, type Schema } from "./schema.ts";
import { type FieldError, invalidValue, required } from "./status.ts";

const known = new WeakMap<Schema, boolean>();

/** Whether the schema has a rule anywhere. */
export function hasRules(schema: Schema): boolean {
  const before = known.get(schema);
  if (before !== undefined) return before;
  const { items, additionalProperties, properties = {} } = schema;
  const parts = [items, additionalProperties, ...Object.values(properties)];
  const found =
    (schema["x-kubernetes-validations"] ?? []).length > 0 ||
    parts.some((part) => typeof part === "object" && hasRules(part));
  known.set(schema, found);
  return found;
}

/** The rules that a value of the right shape breaks. A part that equals its old value is not checked again. */
export function ruleErrors(
  value: unknown,
  schema: Schema,
  path: string,
  old: unknown,
): FieldError[] {
  if (value === null || !hasRules(schema)) return [];
  if (old !== undefined && isDeepStrictEqual(value, old)) return [];
  return [...ownErrors(value, schema, path, old), ...childErrors(value, schema, path, old)];
}

function childErrors(value: unknown, schema: Schema, path: string, old: unknown): FieldError[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    const before = oldItems(old, schema);
    return value.flatMap((item, index) =>
      items
        ? ruleErrors(item, items, `${path}[${index}]`, before.get(identityOf(item, schema)))
        : [],
    );
  }
  if (!isFields(value)) return [];
  const before: Fields = isFields(old) ? old : {};
  return Object.entries(value).flatMap(([key, child]) => {
    const member = memberSchema(schema, key);
    return member ? ruleErrors(child, member, joined(path, key), before[key]) : [];
  });
}

function ownErrors(value: unknown, schema: Schema, path: string, old: unknown): FieldError[] {
  const rules = (schema["x-kubernetes-validations"] ?? []).filter(
    (rule) => old !== undefined || !isTransition(rule),
  );
  if (rules.length === 0) return [];
  const self = celValue(value, schema);
  const oldSelf = old === undefined ? undefined : celValue(old, schema);
  return rules.flatMap((rule) => {
    const message = brokenRule(rule, self, oldSelf);
    return message === undefined ? [] : [ruleError(rule, value, path, message)];
  });
}

function ruleError(rule: CelRule, value: unknown, path: string, message: string): FieldError {
  const field = `${path}${rule.fieldPath ?? ""}`.replace(/^\./, "") || "<nil>";
  if (rule.reason === "FieldValueForbidden") {
    return { reason: rule.reason, field, message: `Forbidden: ${message}` };
  }
  if (rule.reason === "FieldValueRequired") return required(field, message);
  if (typeof value !== "object") return invalidValue(field, value, message);
  // A whole object or list is not repeated in the answer.
  return { reason: "FieldValueInvalid", field, message: `Invalid value: ${message}` };
}
