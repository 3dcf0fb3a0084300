import { constants } from "node:fs";
import { access, open, realpath } from "node:fs/promises";
import { createRequire } from "node:module";
import { delimiter, isAbsolute, join } from "node:path";
import { ArgusError } from "#lib/errors.ts";

/** The Codex that this version of Argus is proved with. */
export const CODEX_VERSION = "0.169.0";

const TRIPLES: Record<string, string> = {
  "linux-x64": "x86_64-unknown-linux-musl",
  "linux-arm64": "aarch64-unknown-linux-musl",
  "darwin-x64": "x86_64-apple-darwin",
  "darwin-arm64": "aarch64-apple-darwin",
};

/** The file that a shell would start for `program`; undefined when there is none. */
export async function findProgram(program: string, path: string): Promise<string | undefined> {
  if (program.includes("/")) return (await isExecutable(program)) ? program : undefined;
  for (const folder of path.split(delimiter).filter(isAbsolute)) {
    const file = join(folder, program);
    if (await isExecutable(file)) return file;
  }
  return undefined;
}

/**
 * Path of the native Codex behind `program` on `path`. npm installs a launcher written for Node in its place, which costs a
 * process of 42 MB and does not forward every signal. Throws NotFound with what to install.
 */
export async function nativeCodex(program: string, path: string): Promise<string> {
  const found = await findProgram(program, path);
  if (!found) throw missing(`${program} is not on the PATH of the session`);
  const file = await realpath(found);
  if (!(await isScript(file)) || !file.endsWith("/bin/codex.js")) return found;
  const native = platformBinary(file);
  if (native && (await isExecutable(native))) return native;
  const platform = `${process.platform}-${process.arch}`;
  throw missing(`the launcher ${file} is there, its native program for ${platform} is not`);
}

function missing(what: string): ArgusError {
  const install = `npm install -g @openai/codex@${CODEX_VERSION}`;
  const how = `install it with \`${install}\`, in the image or in spec.runtime.install`;
  return new ArgusError("NotFound", `Codex cannot be started: ${what}; ${how}`, {});
}

/** By the layout of npm's packages: a platform package holds the program. */
function platformBinary(launcher: string): string | undefined {
  const platform = `${process.platform}-${process.arch}`;
  const triple = TRIPLES[platform];
  if (!triple) return undefined;
  try {
    const manifest = createRequire(launcher).resolve(`@openai/codex-${platform}/package.json`);
    return join(manifest, "..", "vendor", triple, "bin", "codex");
  } catch {
    return undefined;
  }
}

async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function isScript(file: string): Promise<boolean> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer.toString("latin1") === "#!";
  } finally {
    await handle.close();
  }
}
