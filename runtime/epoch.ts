import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { makeFolderDurably, writeDurably } from "#lib/durable-file.ts";
import type { Logger } from "#lib/logger.ts";

const Saved = z.object({ epoch: z.int().min(0) });

/** The highest gateway epoch ever seen, kept on the volume: a restarted bridge still refuses a stale gateway. */
export class EpochFence {
  readonly #path: string;
  readonly #logger: Logger;
  #highest: number;
  #saving: Promise<void> = Promise.resolve();

  private constructor(path: string, logger: Logger, highest: number) {
    this.#path = path;
    this.#logger = logger;
    this.#highest = highest;
  }

  static async open(home: string, logger: Logger): Promise<EpochFence> {
    const path = join(home, ".argus", "bridge.json");
    await makeFolderDurably(dirname(path));
    const text = await readFile(path, "utf8").catch(() => "");
    const saved = Saved.safeParse(text === "" ? undefined : parse(text));
    if (text !== "" && !saved.success) logger.error({ path }, "bridge state is unreadable");
    return new EpochFence(path, logger, saved.success ? saved.data.epoch : 0);
  }

  get highest(): number {
    return this.#highest;
  }

  /**
   * `stale` = refuse it; `new` = higher than any before: from now on lower ones are stale. Takes effect at once; call
   * {@link saved} before anything is answered.
   */
  meet(epoch: number): "stale" | "same" | "new" {
    if (epoch < this.#highest) return "stale";
    if (epoch === this.#highest) return "same";
    this.#highest = epoch;
    this.#saving = this.#saving.then(() => this.#save());
    return "new";
  }

  /** Resolves when the highest epoch is on the disk. A full disk must not lock the gateway out: it is logged instead. */
  async saved(): Promise<void> {
    await this.#saving;
  }

  async #save(): Promise<void> {
    try {
      await writeDurably(this.#path, JSON.stringify({ epoch: this.#highest }));
    } catch (error) {
      this.#logger.error({ err: error }, "gateway epoch was not saved");
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
