import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, readdir, readFile, rename } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const HERE = import.meta.dirname;
const FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror"];

/** Paths of the C programs of the benchmark. */
export interface Programs {
  /** Clients and upstream in one process. */
  load: string;
  /** A WebSocket relay in C: the floor. */
  floor: string;
  /** An app-server that lends its pipes to the load. */
  stub: string;
}

/** Compiles what has changed into the user's cache folder. Throws with the compiler's words. */
export async function buildPrograms(): Promise<Programs> {
  const [load, floor, stub] = await Promise.all([
    build("load", "native"),
    build("floor", "floor"),
    build("stub", "stub"),
  ]);
  return { load, floor, stub };
}

async function build(name: string, folder: string): Promise<string> {
  const names = (await readdir(join(HERE, folder))).sort();
  const hash = createHash("sha256").update(FLAGS.join(" "));
  for (const file of names) hash.update(file).update(await readFile(join(HERE, folder, file)));
  const cache = join(cacheFolder(), `bench-${hash.digest("hex").slice(0, 16)}`);
  const target = join(cache, name);
  if (await exists(target)) return target;
  await mkdir(cache, { recursive: true });
  const sources = names.filter((file) => file.endsWith(".c"));
  const draft = `${target}.${process.pid}`;
  const words = [...FLAGS, "-o", draft, ...sources.map((file) => join(HERE, folder, file))];
  await run("cc", words).catch((error: Error & { stderr?: string }) => {
    throw new Error(`cannot compile ${name} (a C compiler is needed): ${error.stderr ?? error}`);
  });
  await rename(draft, target);
  return target;
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "argus-test");
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
