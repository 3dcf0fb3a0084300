import { randomUUID } from "node:crypto";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { ALLOW, type Ask, type AskWords, REFUSE } from "#protocol/ask.ts";
import type { ApprovalRow } from "#protocol/node-methods.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { shortened, visible } from "../lanes/agent-question.ts";
import type { Lanes } from "../lanes/lanes.ts";
import type { ApprovalEnd, ApprovalListener, Question } from "../nodes/approvals.ts";
import { closeAsk, openAsk } from "../state/asks.ts";

type Decision = "accept" | "decline";

export interface NodeAsksOptions {
  lanes: Lanes;
  logger: Logger;
  /** Tells the node. Throws `NotFound` when it does not ask (any more). */
  answer: (
    session: ArgusSession,
    approvalId: string,
    said: { decision: Decision; by: string },
  ) => void;
}

/** What a session's devices ask, asked in the chat that its turn, or the session itself, speaks to. */
export class NodeAsks implements ApprovalListener {
  readonly #options: NodeAsksOptions;
  /** Questions whose decision is waited for, by the node's id of them. */
  readonly #watched = new Map<string, () => void>();

  constructor(options: NodeAsksOptions) {
    this.#options = options;
  }

  /** It is told at once what was decided before a restart of the gateway. */
  asked(question: Question): void {
    void this.#ask(question);
  }

  async #ask({ session, row }: Question): Promise<void> {
    try {
      const { state, limit } = await this.#options.lanes.of(session);
      const now = Date.now();
      const key = keyOf(row.approvalId);
      const ask = await state.reduce((document) => {
        const { target, inputId } = placeIn(document);
        if (!target) return { document, answer: undefined };
        const facts = { id: `ask-${randomUUID()}`, key, turn: null, target, inputId };
        const waitMs = Math.max(1, row.expiresAtMs - now);
        return openAsk(document, { ...facts, words: wordsOf(row), now, waitMs, limit });
      });
      if (!ask || this.#watched.has(key)) return;
      const look = (document: SessionDocument) => this.#look(document, key, { session, row });
      this.#watched.set(key, state.watch(look));
      look(state.current);
    } catch (error) {
      this.#failed(session, error);
    }
  }

  /** It was decided, here or elsewhere, or nobody needs that any more. */
  ended({ session, row }: Question, end: ApprovalEnd): void {
    // The question's own time ends it in the chat.
    if (end.how === "expired") return;
    const words = wordsOfEnd(end);
    const done = async () => {
      const { state } = await this.#options.lanes.of(session);
      const { id } = state.current.asks.find(({ key }) => key === keyOf(row.approvalId)) ?? {};
      if (id !== undefined) await state.update((document) => closeAsk(document, id, words));
    };
    done().catch((error: unknown) => this.#failed(session, error));
  }

  #look({ asks }: SessionDocument, key: string, asked: Question): void {
    const ask = asks.find((each) => each.key === key);
    if (ask?.state === "open") return;
    this.#watched.get(key)?.();
    this.#watched.delete(key);
    if (ask) this.#tell(ask, asked);
  }

  #tell({ words, choice, outcome }: Ask, { session, row }: Question): void {
    const label = words.choices[choice ?? -1];
    if (label === undefined) return;
    const decision = label === ALLOW ? "accept" : "decline";
    try {
      this.#options.answer(session, row.approvalId, { decision, by: outcome });
    } catch (error) {
      // It is away and asks again when it comes back, or its time is over.
      if (!(error instanceof ArgusError && error.code === "NotFound")) this.#failed(session, error);
    }
  }

  #failed({ metadata }: ArgusSession, error: unknown): void {
    const facts = { session: metadata.name, error: errorMessage(error) };
    this.#options.logger.warn(facts, "a device's question was not asked in a chat");
  }
}

/** Who decided it is said in the chat, as it is of a decision in it. */
function wordsOfEnd(end: Exclude<ApprovalEnd, { how: "expired" }>): string {
  if (end.how !== "accept" && end.how !== "decline") return "⏹ Nobody needs this any more.";
  const what = end.how === "accept" ? "Allowed" : "Refused";
  return `☑️ ${what} elsewhere: ${visible(end.by)}`;
}

const keyOf = (approvalId: string) => `node/${approvalId}`;

/** Where the turn that runs speaks, else the session. */
function placeIn({ turn, inputs, home }: SessionDocument) {
  const source = inputs.find(({ id }) => id === turn?.inputId)?.source;
  return source && turn
    ? { target: source, inputId: turn.inputId }
    : { target: home, inputId: null };
}

function wordsOf({ nodeId, command, summary, cwd }: ApprovalRow): AskWords {
  const where = cwd ? ` in ${visible(cwd)}` : "";
  return {
    question: `May I do this on ${visible(nodeId)}${where}? (${visible(command)})`.slice(0, 512),
    detail: shortened(visible(summary)),
    reason: "",
    choices: [ALLOW, REFUSE],
  };
}
