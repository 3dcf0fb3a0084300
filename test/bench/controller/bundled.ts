import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import type { Rig } from "./rig.ts";

/** A program of this folder as one bundle, like what runs in production; returns its path. */
export async function bundled({ folder }: Rig, name: string): Promise<string> {
  const outdir = join(folder, name);
  await mkdir(outdir, { recursive: true });
  await build({
    entryPoints: [join(import.meta.dirname, `${name}.ts`)],
    outdir,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node24",
    minify: true,
    outExtension: { ".js": ".mjs" },
    banner: {
      js: 'import{createRequire as bundledRequire}from"node:module";const require=bundledRequire(import.meta.url);',
    },
    logLevel: "warning",
  });
  return join(outdir, `${name}.mjs`);
}
