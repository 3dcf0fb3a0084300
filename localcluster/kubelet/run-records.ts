import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { makeFolderDurably, writeDurably } from "#lib/durable-file.ts";
import { ArgusError, isErrno } from "#lib/errors.ts";
import type { ProcessRecord } from "#lib/process-record.ts";

/** A started container: enough to find its processes after a crash of everything. */
export interface RunRecord extends ProcessRecord {
  podUid: string;
  container: string;
}

/** The runs that are under way, in a file that is on disk before a program begins. */
export class RunRecords {
  readonly #file: string;
  readonly #runs = new Map<string, RunRecord>();
  readonly #ended = new Set<RunRecord>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, runs: readonly RunRecord[]) {
    this.#file = file;
    for (const run of runs) this.#runs.set(key(run), run);
  }

  /** Throws Internal when the file cannot be understood: starting anyway could start things twice. */
  static async open(file: string): Promise<RunRecords> {
    await makeFolderDurably(dirname(file));
    const text = await readFile(file, "utf8").catch((error: unknown) => {
      if (isErrno(error, "ENOENT")) return "[]";
      throw error;
    });
    try {
      return new RunRecords(file, JSON.parse(text) as RunRecord[]);
    } catch (cause) {
      const message = `cannot read ${file}: end the processes of the last run by hand and remove it`;
      throw new ArgusError("Internal", message, { file }, { cause });
    }
  }

  list(): RunRecord[] {
    return [...this.#runs.values()];
  }

  /** Resolves once the record is durable. */
  async add(run: RunRecord): Promise<void> {
    this.#runs.set(key(run), run);
    await this.#write();
  }

  /** All processes of the run are gone. It stays on record until `forget`, after its end was reported. */
  end(run: Pick<RunRecord, "podUid" | "container" | "pid">): void {
    const stored = this.#runs.get(key(run));
    if (stored?.pid === run.pid) this.#ended.add(stored);
  }

  ofPod(podUid: string): RunRecord[] {
    return this.list().filter((run) => run.podUid === podUid);
  }

  /** The ended runs of a pod. */
  ended(podUid: string): RunRecord[] {
    return [...this.#ended].filter((run) => run.podUid === podUid);
  }

  /** Takes these runs off the record, but not a newer one of the same container. */
  async forget(runs: readonly RunRecord[]): Promise<void> {
    for (const run of runs) {
      this.#ended.delete(run);
      if (this.#runs.get(key(run)) === run) this.#runs.delete(key(run));
    }
    if (runs.length > 0) await this.#write();
  }

  /** One write at a time; each writes what holds when its turn comes. */
  #write(): Promise<void> {
    const next = this.#writing.then(() => writeDurably(this.#file, JSON.stringify(this.list())));
    this.#writing = next.catch(() => undefined);
    return next;
  }
}

const key = ({ podUid, container }: Pick<RunRecord, "podUid" | "container">) =>
  `${podUid}/${container}`;
