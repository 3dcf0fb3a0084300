import { eventLines, isBackground, ownWords } from "#protocol/prompt-text.ts";
import { listAt, numberAt, textAt } from "./fields.ts";
import type { Shown } from "./shown.ts";

/** Items whose text was streamed; a bound, because an item may never complete. */
const MAX_STREAMED = 256;
/** Notifications that carry a part of an item's text. */
const STREAMS: Record<string, Shown["kind"] | undefined> = {
  "item/agentMessage/delta": "agent",
  "item/commandExecution/outputDelta": "output",
  "item/reasoning/summaryTextDelta": "thinking",
};

/** Turns the notifications of one thread into what a person sees. */
export class Items {
  readonly #streamed = new Set<string>();
  readonly #ownInputs: (inputId: string) => boolean;
  #lastError: string | undefined;

  /** `isOwn` tells whether an input id is one of this client's messages. */
  constructor(isOwn: (inputId: string) => boolean) {
    this.#ownInputs = isOwn;
  }

  show(method: string, params: unknown): Shown[] {
    const kind = STREAMS[method];
    if (kind) return [this.#stream(textAt(params, "itemId") ?? "", kind, params)];
    switch (method) {
      case "item/started":
        return started(itemOf(params));
      case "item/completed":
        return this.#completed(itemOf(params));
      case "error":
        return [this.#error(params)];
      case "warning":
        return [{ kind: "note", text: textAt(params, "message") ?? "warning" }];
      case "configWarning":
        return [{ kind: "note", text: textAt(params, "summary") ?? "configuration warning" }];
      default:
        return [];
    }
  }

  /** Whether `reason` was shown already since the last call: the turn that failed of it need not repeat it. */
  wasSaid(reason: string | undefined): boolean {
    const said = reason !== undefined && plainReason(reason) === this.#lastError;
    this.#lastError = undefined;
    return said;
  }

  #error(params: unknown): Shown {
    const shown = modelError(params);
    if (shown.kind === "error") this.#lastError = shown.text;
    return shown;
  }

  #stream(itemId: string, kind: Shown["kind"], params: unknown): Shown {
    if (this.#streamed.size >= MAX_STREAMED) this.#streamed.clear();
    this.#streamed.add(itemId);
    return { kind, text: textAt(params, "delta") ?? "" };
  }

  #completed(item: unknown): Shown[] {
    const id = textAt(item, "id") ?? "";
    const streamed = this.#streamed.delete(id);
    switch (textAt(item, "type") ?? "") {
      case "agentMessage":
        return streamed
          ? [{ kind: "agent", text: "\n" }]
          : [{ kind: "agent", text: `${textAt(item, "text") ?? ""}\n` }];
      case "userMessage":
        return this.#userMessage(item);
      case "commandExecution":
        return commandEnd(item, streamed);
      case "fileChange":
        return textAt(item, "status") !== "completed"
          ? [{ kind: "note", text: `file change ${textAt(item, "status") ?? "ended"}` }]
          : [];
      default:
        return [];
    }
  }

  #userMessage(item: unknown): Shown[] {
    const inputId = textAt(item, "clientId");
    if (inputId && this.#ownInputs(inputId)) return [];
    const text = listAt(item, "content")
      .map((part) => textAt(part, "text") ?? "")
      .join("\n");
    const words = ownWords(text);
    if (isBackground(words)) return [{ kind: "note", text: background(text) }];
    return words ? [{ kind: "user", text: words }] : [];
  }
}

function background(text: string): string {
  const events = eventLines(text);
  return events.length === 0 ? "heartbeat" : `woken by ${events.join("; ")}`;
}

const itemOf = (params: unknown) =>
  typeof params === "object" && params !== null && "item" in params ? params.item : undefined;

function started(item: unknown): Shown[] {
  switch (textAt(item, "type") ?? "") {
    case "commandExecution":
      return [{ kind: "command", text: textAt(item, "command") ?? "(unknown command)" }];
    case "fileChange":
      return [{ kind: "note", text: `changes ${changedFiles(item)}` }];
    case "mcpToolCall":
      return [{ kind: "note", text: `tool ${textAt(item, "server")}.${textAt(item, "tool")}` }];
    case "contextCompaction":
      return [{ kind: "note", text: "the conversation is being shortened to fit the model" }];
    default:
      return [];
  }
}

/** The files of a fileChange item with what happens to each: `add a.txt, update b.txt`. */
export function changedFiles(item: unknown): string {
  const changes = listAt(item, "changes").map(
    (change) => `${textAt(change, "kind", "type") ?? "change"} ${textAt(change, "path") ?? "?"}`,
  );
  return changes.join(", ") || "files";
}

function commandEnd(item: unknown, streamed: boolean): Shown[] {
  const output = streamed ? "" : (textAt(item, "aggregatedOutput") ?? "");
  const exitCode = numberAt(item, "exitCode");
  const status = textAt(item, "status") ?? "ended";
  const end = exitCode === undefined ? status : `exit ${exitCode}`;
  const shown: Shown[] = output ? [{ kind: "output", text: output }] : [];
  return [...shown, { kind: "note", text: end }];
}

/** The words of an error; Codex hands on the whole JSON body where the model refuses a request. */
export function plainReason(text: string): string {
  if (!text.startsWith("{")) return text;
  try {
    return textAt(JSON.parse(text), "error", "message") ?? text;
  } catch {
    return text;
  }
}

function modelError(params: unknown): Shown {
  const message = plainReason(textAt(params, "error", "message") ?? "unknown error");
  const retries =
    typeof params === "object" && params !== null && "willRetry" in params && params.willRetry;
  return retries
    ? { kind: "note", text: `the model cannot be reached, trying again: ${message}` }
    : { kind: "error", text: message };
}
