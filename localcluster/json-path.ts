import { isFields } from "./object.ts";

type Step = (values: unknown[]) => unknown[];

const TOKEN =
  /\.([A-Za-z_][-\w]*)|\.?\[\s*(?:'([^']*)'|"([^"]*)"|(-?\d+)|(\*)|\?\(\s*@\.([-\w.]+)\s*==\s*(?:"([^"]*)"|'([^']*)'|([^\s)]+))\s*\))\s*\]|\.(\*)/y;

/**
 * The values at a path of the kind that printer columns use: `.a.b`, `['a']`, `[0]`, `[*]`,
 * `[?(@.type=="Ready")]`. Nothing is evaluated. Throws for any other syntax.
 */
export function jsonPath(path: string): (object: unknown) => unknown[] {
  const steps: Step[] = [];
  // Its own: a sticky expression remembers its place, and filters are paths themselves.
  const token = new RegExp(TOKEN);
  const text = path.replace(/^\{(.*)\}$/, "$1");
  while (token.lastIndex < text.length) {
    const at = token.lastIndex;
    const match = token.exec(text);
    if (!match) throw new Error(`unsupported JSONPath at ${at}: ${path}`);
    steps.push(stepOf(match));
  }
  return (object) => steps.reduce((values, step) => step(values), [object]);
}

function stepOf(match: RegExpExecArray): Step {
  const [, name, single, double, index, star, field, ...rest] = match;
  const key = name ?? single ?? double;
  if (key !== undefined) return (values) => values.flatMap((value) => member(value, key));
  if (index !== undefined) {
    return (values) =>
      values.flatMap((value) => (Array.isArray(value) ? item(value, Number(index)) : []));
  }
  if (star || rest[3]) return (values) => values.flatMap((value) => everything(value));
  const wanted = rest[0] ?? rest[1] ?? rest[2];
  const inner = jsonPath(`.${field}`);
  return (values) =>
    values.flatMap((value) =>
      everything(value).filter((each) => inner(each).some((found) => String(found) === wanted)),
    );
}

const item = (list: unknown[], index: number): unknown[] => {
  const value = list.at(index);
  return value === undefined ? [] : [value];
};

function member(value: unknown, key: string): unknown[] {
  return isFields(value) && Object.hasOwn(value, key) ? [value[key]] : [];
}

function everything(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return isFields(value) ? Object.values(value) : [];
}
