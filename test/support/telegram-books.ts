import { readFileSync } from "node:fs";
import type { ArgusUp } from "./argus-up.ts";
import { eventually } from "./eventually.ts";
import type { UpSessions } from "./up-sessions.ts";

interface Ended {
  id: string;
  inputId: string | null;
  state: "delivered" | "ambiguous" | "dead";
  unclear: number;
  reason: string;
  /** Of the first part. */
  ref: string | null;
}

/** What the gateway has on record about messages and their answers; it forgets old ones, so that it is read again and again. */
export class Books {
  readonly #sessions: UpSessions;
  readonly #names: string[];
  /** `telegram:<chat>/<message>` → id at the gateway. */
  readonly #inputs = new Map<string, string>();
  readonly #deliveries = new Map<string, Ended>();

  constructor(sessions: UpSessions, names: string[]) {
    this.#sessions = sessions;
    this.#names = names;
  }

  /** Reads what is new; the number of what is open. Throws while the gateway is away. */
  async read(): Promise<number> {
    let open = 0;
    for (const name of this.#names) {
      const { inputs, ended } = await this.#sessions.lists(name);
      for (const { id, key } of [...inputs, ...ended]) this.#inputs.set(key, id);
      const list = await this.#sessions.call(name, "delivery/list");
      const { deliveries, ended: over } = list as unknown as {
        deliveries: object[];
        ended: Ended[];
      };
      for (const each of over) if (each.inputId !== null) this.#deliveries.set(each.inputId, each);
      open += inputs.length + deliveries.length;
    }
    return open;
  }

  /** Reads until nothing is open. */
  async settled(timeoutMs: number): Promise<void> {
    await eventually("nothing is open", async () => (await this.read()) === 0, timeoutMs);
  }

  /** Reads again and again until told to stop. */
  async follow(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      await this.read().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 5000));
    }
  }

  deliveryOf(chatId: number, messageId: number): Ended | undefined {
    return this.#deliveries.get(this.#inputs.get(`telegram:${chatId}/${messageId}`) ?? "");
  }
}

/** The most that processes with these words in their command line ever held, KiB; each is asked while it lives. */
export class PeakMemory {
  readonly #up: ArgusUp;
  readonly #words: string;
  readonly #peaks = new Map<number, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(up: ArgusUp, words: string) {
    this.#up = up;
    this.#words = words;
    this.#timer = setInterval(() => this.look(), 2000);
  }

  look(): void {
    for (const { pid } of this.#up.find(this.#words)) {
      const kib = Number(/^VmHWM:\s+(\d+)/m.exec(statusOf(pid))?.[1] ?? 0);
      this.#peaks.set(pid, Math.max(kib, this.#peaks.get(pid) ?? 0));
    }
  }

  get mib(): number {
    return Math.max(0, ...this.#peaks.values()) / 1024;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "";
  }
}
