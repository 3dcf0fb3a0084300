import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ArgusError, isErrno } from "#lib/errors.ts";
import type { LogOptions, LogSource, LogTarget } from "../logs.ts";
import { LogFile } from "./log-file.ts";
import { type LogView, lastLines, renderLines } from "./log-lines.ts";
import { LogReader } from "./log-reader.ts";

/** Between looks at a file that nobody here writes any more. */
const FOLLOW_CHECK_MS = 10_000;

/** The output of all containers: `<folder>/<pod uid>/<container>/<run>.log`. */
export class LogStore implements LogSource {
  readonly #folder: string;
  readonly #open = new Map<string, LogFile>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A file to write to; it is followed from here until `finish`. */
  async start(podUid: string, container: string, run: number): Promise<LogFile> {
    const file = await LogFile.open(join(this.#folder, podUid, container), run);
    this.#open.set(file.path, file);
    return file;
  }

  async finish(file: LogFile): Promise<void> {
    await file.close();
    if (this.#open.get(file.path) === file) this.#open.delete(file.path);
  }

  async remove(podUid: string): Promise<void> {
    await rm(join(this.#folder, podUid), { recursive: true, force: true });
  }

  async *read(pod: LogTarget, options: LogOptions, signal: AbortSignal): AsyncGenerator<Buffer> {
    const path = await this.#runPath(pod, options);
    const { limitBytes, sinceSeconds, timestamps } = options;
    const sinceMs = sinceSeconds === undefined ? undefined : Date.now() - sinceSeconds * 1000;
    let left = limitBytes ?? Number.POSITIVE_INFINITY;
    for await (const lines of this.#lines(path, options, signal)) {
      const view: LogView = { timestamps, sinceMs };
      const text = renderLines(lines, view).subarray(0, left);
      left -= text.length;
      if (text.length > 0) yield text;
      if (left <= 0) return;
    }
  }

  /** Kept lines: first what is there, at once or its tail, then what follows. */
  async *#lines(path: string, options: LogOptions, signal: AbortSignal): AsyncGenerator<Buffer> {
    const reader = new LogReader(path);
    try {
      const old = new LogReader(`${path}.1`);
      const before = await drain(old);
      await old.close();
      const kept = Buffer.concat([...before, ...(await drain(reader))]);
      yield options.tailLines === undefined ? kept : lastLines(kept, options.tailLines);
      while (options.follow && !signal.aborted) {
        const file = this.#open.get(path);
        const seen = file?.version;
        const more = await reader.next();
        if (more.length > 0) yield more;
        else if (file && file.version !== seen) continue;
        else if (!file || file.ended) return;
        else await file.changed.wait(FOLLOW_CHECK_MS, signal);
      }
    } finally {
      await reader.close();
    }
  }

  async #runPath(pod: LogTarget, { container, previous }: LogOptions): Promise<string> {
    const folder = join(this.#folder, pod.uid);
    const name = container ?? onlyOne(pod, await namesIn(folder));
    const runs = (await namesIn(join(folder, name)))
      .filter((file) => file.endsWith(".log"))
      .map((file) => Number.parseInt(file, 10))
      .sort((a, b) => b - a);
    const run = runs[previous ? 1 : 0];
    if (run !== undefined) return join(folder, name, `${run}.log`);
    const which = previous ? "previous terminated container" : "container";
    const message = `${which} "${name}" in pod "${pod.name}" has not run yet`;
    throw new ArgusError("NotFound", message, { pod: pod.name, container: name });
  }
}

async function drain(reader: LogReader): Promise<Buffer[]> {
  const parts: Buffer[] = [];
  for (let part = await reader.next(); part.length > 0; part = await reader.next()) {
    parts.push(part);
  }
  return parts;
}

function onlyOne(pod: LogTarget, names: readonly string[]): string {
  const [name] = names;
  if (name !== undefined && names.length === 1) return name;
  const message = `pod "${pod.name}": name one of its containers: ${names.join(", ") || "none ran yet"}`;
  throw new ArgusError(names.length === 0 ? "NotFound" : "InvalidInput", message, {});
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  });
}
