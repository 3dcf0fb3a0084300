import { at, type Fields, type StoredObject, textOf } from "./object.ts";
import { badRequest } from "./status.ts";

export type Selector = (object: StoredObject) => boolean;

const WORD = "[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?";
const KEY = `${WORD}(?:/${WORD})?`;
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`);
const IN = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUAL = new RegExp(`^(${KEY})\\s*(=|==|!=)\\s*([-A-Za-z0-9_.]*)$`);

type LabelTest = (labels: Record<string, string>) => boolean;

/** `a=b,c!=d,e in (f,g),h,!i`. Throws 400 for anything else. */
export function labelSelector(text: string | null): Selector | undefined {
  if (!text?.trim()) return undefined;
  const tests = text.split(/,(?![^(]*\))/).map((part) => labelTest(part.trim(), text));
  return ({ metadata }) => tests.every((test) => test(metadata.labels ?? {}));
}

function labelTest(part: string, whole: string): LabelTest {
  const has = (labels: Record<string, string>, key: string) => Object.hasOwn(labels, key);
  const equal = EQUAL.exec(part);
  if (equal) {
    const [, key = "", operator, value] = equal;
    if (operator === "!=") return (labels) => !has(labels, key) || labels[key] !== value;
    return (labels) => has(labels, key) && labels[key] === value;
  }
  const within = IN.exec(part);
  if (within) {
    const [, key = "", operator, list = ""] = within;
    const values = new Set(list.split(",").map((value) => value.trim()));
    const wanted = operator === "in";
    return (labels) => (has(labels, key) ? values.has(labels[key] ?? "") === wanted : !wanted);
  }
  const exists = EXISTS.exec(part);
  if (!exists) throw badRequest(`unable to parse requirement: ${part} in label selector ${whole}`);
  const key = exists[2] ?? "";
  return (labels) => has(labels, key) !== (exists[1] === "!");
}

/** Which fields a kind can be selected by, besides its name and namespace. */
export const SELECTABLE: Record<string, string[]> = {
  pods: [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
  ],
  events: [
    ...["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"].map(
      (field) => `involvedObject.${field}`,
    ),
    ..."reason reportingComponent source type".split(" "),
  ],
  secrets: ["type"],
  namespaces: ["status.phase"],
  nodes: ["spec.unschedulable"],
};
/** events.k8s.io names of the same fields. */
const ALIASES: [string, string][] = [
  ["regarding.", "involvedObject."],
  ["reportingController", "reportingComponent"],
];

/** `metadata.name=x,status.phase!=Running`. Throws 400 for a field that the kind cannot be selected by. */
export function fieldSelector(text: string | null, plural: string): Selector | undefined {
  if (!text?.trim()) return undefined;
  const tests = splitUnescaped(text).map((part) => fieldTest(part.trim(), text, plural));
  return (object) => tests.every((test) => test(object));
}

const splitUnescaped = (text: string) => text.match(/(?:\\.|[^,\\])+/g) ?? [];

function fieldTest(part: string, whole: string, plural: string): Selector {
  const [, field = "", operator, value = ""] = /^([^=!]+?)\s*(==|=|!=)\s*(.*)$/.exec(part) ?? [];
  if (!operator) {
    throw badRequest(`invalid field selector "${whole}": can't understand '${part}'`);
  }
  const path = ALIASES.reduce(
    (name, [from, to]) => (name.startsWith(from) ? to + name.slice(from.length) : name),
    field,
  );
  const known = ["metadata.name", "metadata.namespace", ...(SELECTABLE[plural] ?? [])];
  if (!known.includes(path)) throw badRequest(`field label not supported: ${field}`);
  const wanted = value.replace(/\\(.)/g, "$1");
  return (object) => (fieldText(object, path) === wanted) !== (operator === "!=");
}

function fieldText(object: Fields, path: string): string {
  if (path === "source") return textOf(at(object, "source", "component"));
  return textOf(at(object, ...path.split(".")));
}

/** Both selectors at once; undefined selects everything. */
export function selectorOf(query: URLSearchParams, plural: string): Selector | undefined {
  const tests = [
    labelSelector(query.get("labelSelector")),
    fieldSelector(query.get("fieldSelector"), plural),
  ].filter((test) => test !== undefined);
  return tests.length === 0 ? undefined : (object) => tests.every((test) => test(object));
}
