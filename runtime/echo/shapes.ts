import { randomBytes } from "node:crypto";

/** What a message may hold; only text is understood. */
export interface InputPart {
  type: string;
  text?: string | undefined;
  [field: string]: unknown;
}

/** An item of a turn, e.g. `{type: "agentMessage", id: "…", text: "echo: hi"}`; fields as Codex names them. */
export interface Item {
  type: "userMessage" | "agentMessage" | "commandExecution";
  id: string;
  startedAtMs: number;
  completedAtMs: number | null;
  [field: string]: unknown;
}

export type TurnStatus = "inProgress" | "completed" | "interrupted" | "failed";

export interface TurnError {
  message: string;
  codexErrorInfo: string | null;
  additionalDetails: string | null;
}

/** A turn; times in milliseconds, on the wire in seconds. */
export interface Turn {
  id: string;
  status: TurnStatus;
  items: Item[];
  error: TurnError | null;
  startedAtMs: number;
  completedAtMs: number | null;
}

export type Sandbox = "read-only" | "workspace-write" | "danger-full-access";

/** What is known of a thread without its turns. */
export interface ThreadFacts {
  id: string;
  cwd: string;
  approvalPolicy: string;
  sandbox: Sandbox;
  /** Beginning of the first message. */
  preview: string;
  name: string | null;
  archived: boolean;
  createdAtMs: number;
  updatedAtMs: number;
}

export type ItemsView = "full" | "summary" | "notLoaded";

const seconds = (ms: number) => Math.floor(ms / 1000);

/** A turn as the wire shows it; `summary` = its first user message and its last agent message. */
export function turnView(turn: Turn, itemsView: ItemsView): Record<string, unknown> {
  const completedAt = turn.completedAtMs === null ? null : seconds(turn.completedAtMs);
  return {
    id: turn.id,
    rootTurnId: turn.id,
    items: itemsOf(turn, itemsView),
    itemsView,
    status: turn.status,
    error: turn.error,
    startedAt: seconds(turn.startedAtMs),
    completedAt,
    durationMs: turn.completedAtMs === null ? null : turn.completedAtMs - turn.startedAtMs,
  };
}

function itemsOf({ items }: Turn, view: ItemsView): Item[] {
  if (view === "full") return items;
  if (view === "notLoaded") return [];
  const first = items.find(({ type }) => type === "userMessage");
  const last = items.findLast(({ type }) => type === "agentMessage");
  return [first, last].filter((item) => item !== undefined);
}

export interface ThreadViewOptions {
  status: Record<string, unknown>;
  path: string | null;
  turns: Record<string, unknown>[];
}

/** A thread as the wire shows it. */
export function threadView(thread: ThreadFacts, options: ThreadViewOptions): object {
  return {
    id: thread.id,
    sessionId: thread.id,
    forkedFromId: null,
    preview: thread.preview,
    ephemeral: false,
    historyMode: "paginated",
    modelProvider: MODEL.provider,
    model: MODEL.id,
    createdAt: seconds(thread.createdAtMs),
    updatedAt: seconds(thread.updatedAtMs),
    recencyAt: seconds(thread.updatedAtMs),
    status: options.status,
    path: options.path,
    cwd: thread.cwd,
    cliVersion: ECHO_VERSION,
    source: "appServer",
    gitInfo: null,
    name: thread.name,
    turns: options.turns,
  };
}

/** Thread, model and policy: the answer to thread/start and thread/resume. */
export function openedThread(thread: ThreadFacts, view: object): Record<string, unknown> {
  return {
    thread: view,
    model: MODEL.id,
    modelProvider: MODEL.provider,
    serviceTier: null,
    cwd: thread.cwd,
    approvalPolicy: thread.approvalPolicy,
    approvalsReviewer: "user",
    sandbox: SANDBOX_POLICY[thread.sandbox],
    reasoningEffort: null,
  };
}

const SANDBOX_POLICY: Record<Sandbox, Record<string, unknown>> = {
  "read-only": { type: "readOnly", networkAccess: false },
  "workspace-write": { type: "workspaceWrite", writableRoots: [], networkAccess: false },
  "danger-full-access": { type: "dangerFullAccess" },
};

/** The Codex whose protocol the echo speaks. */
export const ECHO_VERSION = "0.169.0";

export const MODEL = { id: "echo", provider: "argus-echo" } as const;

/** The only row of model/list. */
export const MODEL_ROW = {
  id: MODEL.id,
  model: MODEL.id,
  displayName: "Echo (no model)",
  description: "Built into Argus: repeats what it hears, no model is asked.",
  hidden: false,
  supportedReasoningEfforts: [],
  defaultReasoningEffort: "none",
  inputModalities: ["text"],
  isDefault: true,
};

/** A UUID of version 7: ids sort by the time they were made. */
export function uuidv7(now: number): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(now, 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString("hex");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join("-");
}
