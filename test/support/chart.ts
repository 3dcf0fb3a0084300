import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { KubeObject } from "#cluster/types.ts";
import type { ChartValuesInput } from "../../scripts/chart/values.ts";
import { type Helm, helm } from "./helm.ts";
import type { Outcome } from "./run-program.ts";

export const CHART = join(import.meta.dirname, "..", "..", "charts", "argus");
export const RELEASE = "argus";
export const NAMESPACE = "assistants";

export type Values = ChartValuesInput;

/** A rendered object: the fields that tests look at are not typed any further. */
export interface Rendered extends KubeObject {
  kind: string;
  spec?: Record<string, unknown>;
  [field: string]: unknown;
}

/** A folder for helm's own files, gone with the process. */
export const helmHome = mkdtempSync(join(tmpdir(), "argus-helm-"));
process.on("exit", () => rmSync(helmHome, { recursive: true, force: true }));

export interface RenderOptions {
  version?: Helm;
  release?: string;
  chart?: string;
  /** Further arguments of `helm template`. */
  args?: string[];
}

/** What `helm template` says about the chart with these values. */
export function template(values: object, options: RenderOptions = {}): Promise<Outcome> {
  const { version = "helm4", release = RELEASE, chart = CHART, args = [] } = options;
  const command = ["template", release, chart, "--namespace", NAMESPACE, "-f", "-", ...args];
  return helm(version, command, { home: helmHome, input: JSON.stringify(values) });
}

/** All objects of the chart with these values, the CustomResourceDefinitions only when asked for. Throws helm's words. */
export async function render(
  values: Values = {},
  { crds = false, ...options }: RenderOptions & { crds?: boolean } = {},
): Promise<Rendered[]> {
  const args = [...(options.args ?? []), ...(crds ? [] : ["--set", "crds.enabled=false"])];
  const { code, stdout, stderr } = await template(values, { ...options, args });
  if (code !== 0) throw new Error(stderr);
  return readObjects(stdout);
}

export function readObjects(yaml: string): Rendered[] {
  return parseAllDocuments(yaml)
    .map((document) => {
      if (document.errors.length > 0) throw document.errors[0];
      return document.toJS() as Rendered | null;
    })
    .filter((object) => object !== null);
}

/** The one object of this kind and name. */
export function only(objects: Rendered[], kind: string, name?: string): Rendered {
  const found = objects.filter(
    (object) => object.kind === kind && (name === undefined || object.metadata.name === name),
  );
  const [object] = found;
  if (!object || found.length > 1) throw new Error(`${found.length} objects ${kind} ${name ?? ""}`);
  return object;
}
