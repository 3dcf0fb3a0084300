import { type LineScan, names, type Range, scanMembers, splice, valueAt } from "#lib/scan.ts";
import type { PeerRole, TurnDefaults } from "#protocol/bridge.ts";
import { type Choice, Choices } from "./choices.ts";

/** Requests that carry a policy, and the field in which each tells its sandbox. */
const SANDBOX_FIELD: Record<string, "sandbox" | "sandboxPolicy"> = {
  "thread/start": "sandbox",
  "thread/resume": "sandbox",
  "turn/start": "sandboxPolicy",
};
const FIELDS = names("cwd", "approvalPolicy", "sandbox", "sandboxPolicy", "permissions");

/** Makes a changed choice lasting. */
type Keep = (line: string) => Promise<void>;

type Mode = TurnDefaults["sandbox"];

/** The policy of turns whose sender names none: the session's, or what a client chose for the thread. */
export class Policy {
  readonly #defaults: () => TurnDefaults;
  readonly #choices: Choices;
  readonly #keep: Keep;

  constructor(
    defaults: () => TurnDefaults,
    choices = new Choices(),
    keep: Keep = () => Promise.resolve(),
  ) {
    this.#defaults = defaults;
    this.#choices = choices;
    this.#keep = keep;
  }

  /** What the line names itself. */
  named(line: Buffer, scan: LineScan): Choice {
    const ranges = scanMembers(line, scan.params?.start ?? -1, FIELDS);
    const choice: Choice = {};
    FIELD_NAMES.forEach((field, index) => {
      const value = valueAt(line, ranges[index]);
      if (value !== undefined && value !== null) choice[field] = value;
    });
    return choice;
  }

  /**
   * A client's choice for a thread; it holds for later turns too, as it does in the app-server, and at once. Resolves when
   * it would survive a restart; rejects when that failed.
   */
  async remember(threadId: string, choice: Choice): Promise<void> {
    if (Object.keys(choice).length === 0) return;
    const {
      sandbox: _,
      sandboxPolicy: __,
      permissions: ___,
      ...rest
    } = this.#choices.get(threadId) ?? {};
    const namesSandbox =
      "sandbox" in choice || "sandboxPolicy" in choice || "permissions" in choice;
    const known = namesSandbox ? rest : this.#choices.get(threadId);
    const line = this.#choices.put(threadId, { ...known, ...choice });
    if (line) await this.#keep(line);
  }

  /** A fork goes on with what was chosen for the thread that it came from. Resolves and rejects as `remember`. */
  inherit(from: string, threadId: string): Promise<void> {
    return this.remember(threadId, this.#choices.get(from) ?? {});
  }

  /**
   * The line with the fields filled in that it lacks; a lane's are always ours. Bytes stay as they are where nothing is
   * missing. `threadId` is absent for a thread that is about to be made.
   */
  fill(
    line: Buffer,
    scan: LineScan,
    sender: { method: string; role: PeerRole; threadId?: string },
  ): Buffer {
    const field = SANDBOX_FIELD[sender.method];
    if (!field) return line;
    const ranges = scanMembers(line, scan.params?.start ?? -1, FIELDS);
    const isLane = sender.role === "lane";
    const wanted = isLane ? this.#own(field) : this.#wanted(sender.threadId, field);
    const named = this.named(line, scan);
    if (!isLane && named.permissions !== undefined) delete wanted[field];
    const edits = FIELD_NAMES.flatMap((name, index): Edit[] => {
      const value = wanted[name];
      if (value === undefined || (!isLane && named[name] !== undefined)) return [];
      const edit: Edit = { name, value: JSON.stringify(value) };
      const range = ranges[index];
      return [range ? { ...edit, range } : edit];
    });
    return apply(line, scan, edits);
  }

  /** Fields of the bridge's own thread/resume. */
  resume(threadId: string): Choice {
    const choice = this.#choices.get(threadId);
    const wanted = this.#wanted(threadId, "sandbox");
    return choice?.permissions === undefined
      ? wanted
      : { ...wanted, permissions: choice.permissions };
  }

  #own(field: "sandbox" | "sandboxPolicy"): Choice {
    const { cwd, approvalPolicy, sandbox } = this.#defaults();
    return { cwd, approvalPolicy, [field]: field === "sandbox" ? sandbox : policyOf(sandbox) };
  }

  #wanted(threadId: string | undefined, field: "sandbox" | "sandboxPolicy"): Choice {
    const choice = (threadId !== undefined && this.#choices.get(threadId)) || {};
    const own = this.#own(field);
    const wanted: Choice = {
      cwd: choice.cwd ?? own.cwd,
      approvalPolicy: choice.approvalPolicy ?? own.approvalPolicy,
    };
    const chosen = choice[field] ?? translated(choice, field);
    const isOpen =
      !("sandbox" in choice) && !("sandboxPolicy" in choice) && !("permissions" in choice);
    if (chosen !== undefined) wanted[field] = chosen;
    else if (isOpen) wanted[field] = own[field];
    return wanted;
  }
}

const FIELD_NAMES = ["cwd", "approvalPolicy", "sandbox", "sandboxPolicy", "permissions"] as const;

const POLICIES: Record<Mode, { type: string }> = {
  "danger-full-access": { type: "dangerFullAccess" },
  "read-only": { type: "readOnly" },
  "workspace-write": { type: "workspaceWrite" },
};

/** A turn's form of a thread's sandbox mode. What it does not say is the app-server's default, e.g. no network. */
function policyOf(mode: Mode): unknown {
  return POLICIES[mode];
}

/** The choice in the other request's form; undefined where that has none. */
function translated(choice: Choice, field: "sandbox" | "sandboxPolicy"): unknown {
  if (field === "sandboxPolicy") {
    return Object.entries(POLICIES).find(([mode]) => mode === choice.sandbox)?.[1];
  }
  const policy = choice.sandboxPolicy;
  const type = typeof policy === "object" && policy && "type" in policy ? policy.type : undefined;
  return Object.entries(POLICIES).find(([, known]) => known.type === type)?.[0];
}

interface Edit {
  name: string;
  value: string;
  /** Of the value that it replaces; absent = the member is added. */
  range?: Range;
}

function apply(line: Buffer, scan: LineScan, edits: readonly Edit[]): Buffer {
  const added = edits.filter(({ range }) => !range);
  const members = added.map(({ name, value }) => `${JSON.stringify(name)}:${value}`).join(",");
  let text = line;
  const replaced = edits.filter((edit) => edit.range !== undefined);
  // From the end on, so that earlier ranges stay true.
  for (const { range, value } of replaced.sort((a, b) => startOf(b) - startOf(a))) {
    if (range) text = splice(text, range, Buffer.from(value));
  }
  return members === "" ? text : insert(text, scan, members);
}

const startOf = ({ range }: Edit) => range?.start ?? 0;

/** Adds members at the start of params, or params with them. */
function insert(line: Buffer, { open, params }: LineScan, members: string): Buffer {
  if (!params) return spliceAt(line, open + 1, `"params":{${members}},`);
  if (line[params.start] !== 0x7b) return line;
  const isEmpty = /^\{\s*\}$/.test(
    line.toString("latin1", params.start, Math.min(params.end, params.start + 64)),
  );
  return spliceAt(line, params.start + 1, isEmpty ? members : `${members},`);
}

function spliceAt(line: Buffer, at: number, text: string): Buffer {
  return splice(line, { start: at, end: at }, Buffer.from(text));
}
