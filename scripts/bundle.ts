import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { build, type Plugin } from "esbuild";

const root = join(import.meta.dirname, "..");
/** Bundled CommonJS packages call `require`, which a module does not have. */
const REQUIRE =
  'import{createRequire as bundledRequire}from"node:module";const require=bundledRequire(import.meta.url);';

/**
 * node:http by `require`: an `import` reads every export at once, and so loads all of fetch and WebSocket (14 MiB) that
 * nobody uses. Only this one: what stands on hot paths is a plain binding.
 */
const requiredHttp: Plugin = {
  name: "required-http",
  setup(plugin) {
    plugin.onResolve({ filter: /^(node:)?http$/ }, () => ({ path: "http", namespace: "required" }));
    plugin.onLoad({ filter: /.*/, namespace: "required" }, () => ({
      contents: 'module.exports = process.getBuiltinModule("node:http");',
    }));
  },
};

/**
 * grammY's polyfill of AbortController is Node's own: bundled, its classes get other names, and node-fetch, which knows a signal by
 * the name of its class, would refuse every request.
 */
const builtinAbort: Plugin = {
  name: "builtin-abort",
  setup(plugin) {
    const filter = /^abort-controller$/;
    plugin.onResolve({ filter }, () => ({ path: "abort-controller", namespace: "builtin-abort" }));
    plugin.onLoad({ filter: /.*/, namespace: "builtin-abort" }, () => ({
      contents: "module.exports = { AbortController, AbortSignal };",
    }));
  },
};

/** The program calls itself another version than its package.json says. */
const renumbered = (version: string): Plugin => ({
  name: "renumbered",
  setup(plugin) {
    plugin.onLoad({ filter: /package\.json$/ }, async ({ path }) => {
      if (path !== join(root, "package.json")) return undefined;
      const manifest = JSON.parse(await readFile(path, "utf8")) as object;
      return { contents: JSON.stringify({ ...manifest, version }), loader: "json" };
    });
  },
});
/** Packages with machine code stay beside the bundle, as they are. */
const NATIVE = ["bufferutil", "node-gyp-build"];
/** Optional ones, and what they load for this system. */
const TERMINALS = ["@lydell/node-pty", `@lydell/node-pty-${process.platform}-${process.arch}`];

/**
 * Writes the program as plain JavaScript to `folder` (emptied first): `argus.js`, the state store's `worker.js`, shared chunks,
 * `templates/`, `node-host.mjs`, and `node_modules/` with what cannot be bundled. Half the memory and start time of the sources.
 * `version` replaces that of package.json.
 */
export async function bundle(folder: string, version?: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: { argus: "cli/argus.mjs", worker: "gateway/store/worker.ts" },
    outdir: folder,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node24",
    // Not identifiers: traces stay readable, and keepNames would wrap each closure in a call.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    external: [...NATIVE, ...TERMINALS],
    plugins: [requiredHttp, builtinAbort, ...(version ? [renumbered(version)] : [])],
    banner: { js: REQUIRE },
    logLevel: "warning",
  });
  await bundleNodeHost(join(folder, "node-host.mjs"));
  await cp(join(root, "runtime", "templates"), join(folder, "templates"), { recursive: true });
  const require = createRequire(import.meta.url);
  for (const name of NATIVE) {
    const from = dirname(require.resolve(`${name}/package.json`));
    await cp(from, join(folder, "node_modules", name), { recursive: true });
  }
  for (const name of TERMINALS) {
    const from = join(root, "node_modules", name);
    if (existsSync(from)) await cp(from, join(folder, "node_modules", name), { recursive: true });
  }
}

/** Writes the node-host as one file that runs on Node 20 and later without anything beside it. */
export async function bundleNodeHost(file: string): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: ["cli/node-host.ts"],
    outfile: file,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    // ws does without them.
    external: ["bufferutil", "utf-8-validate", ...TERMINALS],
    banner: { js: REQUIRE },
    logLevel: "warning",
  });
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2);
  if (!folder) {
    console.error("npm run bundle -- <folder>   (it is emptied first)");
    process.exit(2);
  }
  await bundle(folder);
}
