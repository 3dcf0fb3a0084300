import { stringify } from "yaml";
import { customResourceDefinitions } from "#crds/kinds.ts";
import { EXIT } from "../exit.ts";

/** All CustomResourceDefinitions as one YAML stream. */
export function crdYaml(): string {
  return customResourceDefinitions().map(documentYaml).join("---\n");
}

/** Without anchors: not every reader of YAML follows them. */
export function documentYaml(document: Record<string, unknown>): string {
  return stringify(document, { aliasDuplicateObjects: false, lineWidth: 100 });
}

export async function crds(): Promise<number> {
  process.stdout.write(crdYaml());
  return EXIT.ok;
}
