import { Environment, type ParseResult } from "@marcbachmann/cel-js";
import { errorMessage } from "#lib/errors.ts";
import { isFields } from "./object.ts";
import { type CelRule, memberSchema, type Schema } from "./schema.ts";

const environment = new Environment({
  unlistedVariablesAreDyn: true,
  homogeneousAggregateLiterals: false,
  enableOptionalTypes: true,
});

/** One parsed program per expression; expressions come from a few definitions. */
const programs = new Map<string, ParseResult>();
const MAX_PROGRAMS = 1024;

function program(expression: string): ParseResult {
  let parsed = programs.get(expression);
  if (!parsed) {
    parsed = environment.parse(expression);
    if (programs.size >= MAX_PROGRAMS) programs.clear();
    programs.set(expression, parsed);
  }
  return parsed;
}

/** Whether the rule compares with the old value, so that it holds only for updates. */
export const isTransition = ({ rule }: CelRule) => /\boldSelf\b/.test(rule);

/** The sentence that describes why the rule does not hold; undefined when it holds. */
export function brokenRule(rule: CelRule, self: unknown, oldSelf: unknown): string | undefined {
  const variables = { self, ...(oldSelf !== undefined && { oldSelf }) };
  try {
    if (program(rule.rule)(variables) === true) return undefined;
    return messageOf(rule, variables);
  } catch (error) {
    return `${errorMessage(error).split("\n")[0]} evaluating rule: ${rule.rule}`;
  }
}

function messageOf(rule: CelRule, variables: object): string {
  const computed = rule.messageExpression && program(rule.messageExpression)(variables);
  if (typeof computed === "string" && computed.trim()) return computed;
  return rule.message ?? `failed rule: ${rule.rule}`;
}

/** Why an expression cannot be compiled; undefined when it can. */
export function compileError(expression: string): string | undefined {
  try {
    program(expression);
    return undefined;
  } catch (error) {
    return errorMessage(error).split("\n")[0];
  }
}

/** The value as CEL sees it: integers as bigint, times as Date, only declared members. */
export function celValue(value: unknown, schema: Schema): unknown {
  if (Array.isArray(value)) return value.map((item) => celValue(item, schema.items ?? {}));
  if (isFields(value)) {
    const declared = Object.entries(value).filter(
      ([key]) => schema.properties?.[key] ?? schema.additionalProperties ?? !schema.properties,
    );
    return Object.fromEntries(
      declared.map(([key, child]) => [key, celValue(child, memberSchema(schema, key) ?? {})]),
    );
  }
  if (typeof value === "number" && schema.type !== "number" && Number.isSafeInteger(value)) {
    return BigInt(value);
  }
  if (typeof value === "string" && schema.format === "date-time") return new Date(value);
  return value;
}
