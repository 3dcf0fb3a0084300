import { listAt, textAt } from "./fields.ts";
import { changedFiles } from "./items.ts";
import type { Approval } from "./shown.ts";

/** Open questions at once; a further one is left to others or to its deadline. */
const MAX_OPEN = 32;
const COMMAND = "item/commandExecution/requestApproval";
const FILES = "item/fileChange/requestApproval";

const keyOf = (id: unknown) => JSON.stringify(id) ?? "undefined";

/** The questions that the agent waits with, in order of arrival; an id that comes again is the same question. */
export class Approvals {
  readonly #open = new Map<string, Approval>();
  /** fileChange items by id: the question itself does not name the files. */
  readonly #files = new Map<string, string>();

  /** Whether this client can answer `method` at all. */
  static understands(method: string): boolean {
    return method === COMMAND || method === FILES;
  }

  get first(): Approval | undefined {
    return this.#open.values().next().value;
  }

  /** False when there are too many or it is open already. */
  add(id: unknown, method: string, params: unknown): boolean {
    if (this.#open.size >= MAX_OPEN || this.#open.has(keyOf(id))) return false;
    const reason = textAt(params, "reason");
    const what =
      method === COMMAND ? `run ${textAt(params, "command") ?? "a command"}` : this.#change(params);
    this.#open.set(keyOf(id), { id, what, ...(reason ? { reason } : {}) });
    return true;
  }

  /** The question is settled, by whomever; true when it was open here. */
  settle(id: unknown): boolean {
    return this.#open.delete(keyOf(id));
  }

  clear(): void {
    this.#open.clear();
  }

  noteItem(item: unknown): void {
    const id = textAt(item, "id");
    if (!id || listAt(item, "changes").length === 0) return;
    if (this.#files.size >= MAX_OPEN) this.#files.clear();
    this.#files.set(id, changedFiles(item));
  }

  #change(params: unknown): string {
    const files = this.#files.get(textAt(params, "itemId") ?? "");
    return `change ${files ?? "files"}`;
  }
}
