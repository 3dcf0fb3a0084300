import { randomUUID } from "node:crypto";
import { errorMessage } from "#lib/errors.ts";
import type { Ask } from "#protocol/ask.ts";
import type { OpenTurn } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { closeAsk, openAsk } from "../state/asks.ts";
import type { SessionState } from "../state/session-state.ts";
import type { AgentQuestion } from "./agent-question.ts";
import type { Link } from "./lane-peer.ts";
import type { LaneWorld } from "./world.ts";

export interface QuestionsOptions {
  world: Pick<LaneWorld, "clock" | "logger">;
  state: SessionState;
  name: string;
  limit: number;
}

interface Held {
  question: AgentQuestion;
  link: Link;
  /** Set once a person is asked. */
  askId?: string;
}

/**
 * What the agent asks in the lane's own turns: asked in the chat that the turn speaks to. Anything else is withdrawn, and the bridge asks
 * its other peers. The document says what was decided; a question that comes again after a lost connection is answered from it.
 */
export class LaneQuestions {
  readonly #options: QuestionsOptions;
  /** By the bridge's number. */
  readonly #held = new Map<number, Held>();
  #running: { turn: OpenTurn; turnId: string } | undefined;

  constructor(options: QuestionsOptions) {
    this.#options = options;
    options.state.watch((document) => this.#look(document));
  }

  take(question: AgentQuestion, link: Link): void {
    const held: Held = { question, link };
    this.#held.set(question.id, held);
    if (this.#running) void this.#decide(held);
    // Which turn it belongs to is known when the bridge has answered the start of the open one.
    else if (!this.#options.state.current.turn) this.#withdraw(held);
  }

  /** It was answered by somebody, or nobody waits for an answer any more. */
  resolved(id: number): void {
    const held = this.#held.get(id);
    this.#held.delete(id);
    if (held?.askId === undefined) return;
    this.#close(held.askId, "☑️ Decided elsewhere, or not needed any more.");
  }

  /** The open turn runs under this id. What a person is asked for it and the bridge did not name is settled. */
  running(turn: OpenTurn, turnId: string): void {
    this.#running = { turn, turnId };
    const keys = new Set(Array.from(this.#held.keys(), keyOf));
    for (const { id, key, turn: of } of this.#options.state.current.asks) {
      const isLost = of === turn.id && !keys.has(key);
      if (isLost) this.#close(id, "☑️ Decided elsewhere, or not needed any more.");
    }
    for (const held of this.#held.values()) void this.#decide(held);
  }

  /** No turn of the lane runs: what is held is others' business. */
  over(): void {
    this.#running = undefined;
    for (const held of this.#held.values()) this.#withdraw(held);
  }

  /** The connection is lost: what is open is asked anew over the next one. */
  lost(): void {
    this.#running = undefined;
    this.#held.clear();
  }

  async #decide(held: Held): Promise<void> {
    if (held.askId !== undefined) return;
    const { question } = held;
    try {
      const ask = await this.#ask(question);
      if (!ask) return this.#withdraw(held);
      held.askId = ask.id;
      this.#look(this.#options.state.current);
    } catch (error) {
      const { world, name } = this.#options;
      const facts = { session: name, error: errorMessage(error) };
      world.logger.warn(facts, "a question of the agent could not be written down");
      this.#withdraw(held);
    }
  }

  async #ask({ id, turnId, words }: AgentQuestion): Promise<Ask | undefined> {
    const { state, world, limit } = this.#options;
    const running = this.#running;
    if (turnId !== running?.turnId) return undefined;
    const { turn } = running;
    const now = world.clock.now();
    return await state.reduce((document) => {
      const target = targetOf(document, turn);
      if (!target) return { document, answer: undefined };
      const { inputId } = turn;
      const facts = { id: `ask-${randomUUID()}`, key: keyOf(id), turn: turn.id };
      return openAsk(document, { ...facts, target, inputId, words, now, limit });
    });
  }

  /** Tells the agent what was decided. */
  #look(document: SessionDocument): void {
    for (const held of this.#held.values()) {
      if (held.askId === undefined) continue;
      const ask = document.asks.find(({ id }) => id === held.askId);
      if (ask?.state === "open") continue;
      const answer = held.question.answers[ask?.choice ?? -1];
      if (answer === undefined) this.#withdraw(held);
      else {
        this.#held.delete(held.question.id);
        held.link.answer(held.question.id, answer);
      }
    }
  }

  #withdraw({ question, link }: Held): void {
    this.#held.delete(question.id);
    link.withdraw(question.id);
  }

  #close(askId: string, outcome: string): void {
    const { state, world, name } = this.#options;
    state
      .update((document) => closeAsk(document, askId, outcome))
      .catch((error: unknown) => {
        const facts = { session: name, error: errorMessage(error) };
        world.logger.warn(facts, "the end of a question could not be written down");
      });
  }
}

const keyOf = (id: number) => `turn/${id}`;

/** Where the turn's words go. */
function targetOf({ inputs, home }: SessionDocument, { kind, inputId }: OpenTurn) {
  if (kind !== "message") return home;
  return inputs.find(({ id }) => id === inputId)?.source ?? null;
}
