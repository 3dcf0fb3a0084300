import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { documentYaml } from "#cli/commands/crds.ts";
import { customResourceDefinition, KINDS } from "#crds/kinds.ts";
import { chartFiles } from "./chart/files.ts";
import { coreSchemas } from "./generate/core-schemas.ts";
import { environmentPage } from "./generate/environment-page.ts";
import { kindPage } from "./generate/kind-page.ts";

const root = join(import.meta.dirname, "..");

/** Every generated file: path below the root → content. */
function products(): Map<string, string> {
  const files = new Map<string, string>();
  for (const kind of KINDS) {
    const yaml = documentYaml(customResourceDefinition(kind));
    files.set(
      `crds/${kind.plural}.yaml`,
      `# Generated from crds/*.ts by npm run generate.\n${yaml}`,
    );
    files.set(`docs/reference/${pageOf(kind.kind)}.md`, kindPage(kind));
  }
  for (const [path, content] of chartFiles()) files.set(path, content);
  files.set("docs/reference/environment.md", environmentPage());
  files.set("localcluster/core-schemas.gen.json", coreSchemas());
  return files;
}

const pageOf = (kind: string) => kind.replace(/^Argus/, "").toLowerCase();

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return undefined;
  }
}

const stale = [...products()].filter(([path, text]) => contentOf(path) !== text);
if (process.argv.includes("--check")) {
  for (const [path] of stale) console.error(`${path} is not up to date: run npm run generate`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const [path, text] of stale) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
    console.log(`wrote ${path}`);
  }
}
