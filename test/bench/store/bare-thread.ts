import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type Paced, paced } from "./paced.ts";

/**
 * The least that a store in a thread of its own can cost: no documents, nothing is read; entries that wait are written over old bytes and
 * synced together.
 */
export class BareThread {
  readonly #worker: Worker;
  readonly #entry: Uint8Array;
  #entries: Uint8Array[] = [];
  readonly #waiting: (() => void)[] = [];

  constructor(folder: string, entryBytes: number) {
    this.#entry = new Uint8Array(entryBytes).fill(120);
    const program = new URL("./bare-thread-worker.ts", import.meta.url);
    this.#worker = new Worker(program, { workerData: join(folder, "bare-thread") });
    this.#worker.on("message", (count: number) => {
      for (const resolve of this.#waiting.splice(0, count)) resolve();
    });
  }

  run(producers: number, forMs: number): Promise<Paced> {
    return paced(producers, forMs, () => this.#commit());
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #commit(): Promise<void> {
    if (this.#entries.length === 0) setImmediate(() => this.#send());
    this.#entries.push(this.#entry);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #send(): void {
    this.#worker.postMessage(this.#entries);
    this.#entries = [];
  }
}
