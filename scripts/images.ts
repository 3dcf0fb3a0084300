import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readEnvironment } from "#cli/config.ts";
import { ownHome } from "#cli/home.ts";
import packageJson from "#package" with { type: "json" };
import { buildImages } from "./images/build.ts";

/** Where built images are kept, over all builds. */
export function imageCache(): string {
  const { XDG_CACHE_HOME: cache = join(ownHome() ?? "/root", ".cache") } = readEnvironment();
  return join(cache, "argus-test", "images");
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { out: { type: "string" }, version: { type: "string" }, cache: { type: "string" } },
  });
  const version = values.version ?? packageJson.version;
  const cache = values.cache ?? imageCache();
  const archives = await buildImages({ cache, version, say: (line) => console.error(line) });
  for (const [image, archive] of Object.entries(archives)) {
    const path = values.out ? join(values.out, `${image}-${version}.tar`) : archive;
    if (values.out) await mkdir(values.out, { recursive: true });
    if (values.out) await copyFile(archive, path);
    console.log(`localhost/${image}:${version} ${path}`);
  }
}
