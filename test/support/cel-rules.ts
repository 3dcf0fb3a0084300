/** A CEL rule of a CRD: where it stands and what it says. */
export interface CelRule {
  kind: string;
  /** `spec.idle`, `spec.runtime.env[].name`. */
  path: string;
  rule: string;
  message: string;
}

interface Node {
  properties?: Record<string, Node>;
  items?: Node;
  additionalProperties?: Node;
  "x-kubernetes-validations"?: { rule: string; message: string }[];
}

interface Crd {
  metadata: { name: string };
  spec: {
    group: string;
    names: Record<string, unknown> & { kind: string };
    versions: { schema: { openAPIV3Schema: Node } }[];
  };
}

/** Every rule of a CRD. */
export function rulesOf(crd: object): CelRule[] {
  const { spec } = crd as Crd;
  return spec.versions.flatMap(({ schema }) =>
    collect(schema.openAPIV3Schema, spec.names.kind, ""),
  );
}

function collect(node: Node, kind: string, path: string): CelRule[] {
  const own = (node["x-kubernetes-validations"] ?? []).map(({ rule, message }) => ({
    kind,
    path: path.slice(1),
    rule,
    message,
  }));
  return [
    ...own,
    ...childrenOf(node).flatMap(([name, child]) => collect(child, kind, path + name)),
  ];
}

function childrenOf({ properties = {}, items, additionalProperties }: Node): [string, Node][] {
  return [
    ...Object.entries(properties).map(([name, child]): [string, Node] => [`.${name}`, child]),
    ...(items ? [["[]", items] as [string, Node]] : []),
    ...(additionalProperties ? [[".*", additionalProperties] as [string, Node]] : []),
  ];
}

/** The CRD under another group, with every rule repeated so often within itself: its estimated cost is that many times as high. */
export function repeatedRules(crd: object, times: number): object {
  const copy = structuredClone(crd) as Crd;
  const group = "cost.argus.dev";
  copy.metadata.name = copy.metadata.name.replace(/\.argus\.dev$/, `.${group}`);
  copy.spec.group = group;
  for (const { schema } of copy.spec.versions) repeat(schema.openAPIV3Schema, times);
  return copy;
}

function repeat(node: Node, times: number): void {
  for (const each of node["x-kubernetes-validations"] ?? []) {
    each.rule = Array.from({ length: times }, () => `(${each.rule})`).join(" && ");
  }
  for (const [, child] of childrenOf(node)) repeat(child, times);
}
