import { readFile, rename, writeFile } from "node:fs/promises";
import { z } from "zod";
import { endProcessTree, recordProcess } from "#lib/process-record.ts";

const Records = z.array(z.object({ pid: z.number(), startTime: z.string() }));
type Records = z.infer<typeof Records>;

const GRACE_MS = 5_000;

/**
 * Remembers on disk which processes were started, so that after a crash the next start can end them: a process that
 * still writes to a thread or a state store would lock its successor out.
 */
export class StartedProcesses {
  readonly #path: string;
  #records: Records = [];
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  /** Ends what an earlier run left. Resolves to the number of processes found. */
  async endLeftovers(): Promise<number> {
    const roots = await this.#read();
    const ended = roots.length > 0 ? await endProcessTree({ roots, graceMs: GRACE_MS }) : 0;
    await this.#write();
    return ended;
  }

  /** Resolves once the process is on record. A process that is gone already needs none. */
  async add(pid: number): Promise<void> {
    const record = await recordProcess(pid).catch(() => undefined);
    if (!record) return;
    this.#records = [...this.#records, record];
    await this.#write();
  }

  async remove(pid: number): Promise<void> {
    this.#records = this.#records.filter((record) => record.pid !== pid);
    await this.#write();
  }

  async #read(): Promise<Records> {
    const text = await readFile(this.#path, "utf8").catch(() => "[]");
    try {
      return Records.parse(JSON.parse(text));
    } catch {
      // Torn by a crash of the machine: then its processes are gone too.
      return [];
    }
  }

  /** One write after the other, each complete: a reader never sees a half file. */
  #write(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      await writeFile(`${this.#path}.new`, JSON.stringify(this.#records), { mode: 0o600 });
      await rename(`${this.#path}.new`, this.#path);
    });
    return this.#writing;
  }
}
