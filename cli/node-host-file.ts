import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const FILE = "node-host.mjs";

/** The one file that devices download: beside a bundled program; made anew where this runs from its sources. */
export async function nodeHostFile(): Promise<Buffer | undefined> {
  const beside = join(dirname(process.argv[1] ?? ""), FILE);
  if (existsSync(beside)) return await readFile(beside);
  const builder = join(import.meta.dirname, "..", "scripts", "bundle.ts");
  if (!existsSync(builder)) return undefined;
  const folder = await mkdtemp(join(tmpdir(), "argus-node-host-file-"));
  try {
    const { bundleNodeHost } = (await import(builder)) as {
      bundleNodeHost: (file: string) => Promise<void>;
    };
    await bundleNodeHost(join(folder, FILE));
    return await readFile(join(folder, FILE));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
