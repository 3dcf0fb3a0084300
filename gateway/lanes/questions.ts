import { randomUUID } from "node:crypto";
import { errorMessage } from "#lib/errors.ts";
import { ASK_WAIT_MS, type Ask } from "#protocol/ask.ts";
import type { OpenTurn } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { closeAsk, openAsk } from "../state/asks.ts";
import type { SessionState } from "../state/session-state.ts";
import type { AgentQuestion } from "./agent-question.ts";
import type { Link } from "./lane-peer.ts";
import { progressOf, questionOf, stepKey } from "./question-steps.ts";
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
  /** A person is asked. */
  isAsked: boolean;
  /** The step that is being written down. */
  asking?: number;
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
    const held: Held = { question, link, isAsked: false };
    this.#held.set(question.id, held);
    if (this.#running) void this.#decide(held);
    // Which turn it belongs to is known when the bridge has answered the start of the open one.
    else if (!this.#options.state.current.turn) this.#withdraw(held);
  }

  /** It was answered by somebody, or nobody waits for an answer any more. */
  resolved(id: number): void {
    this.#held.delete(id);
    for (const ask of this.#options.state.current.asks) {
      const isIts = ask.state === "open" && questionOf(ask.key) === id;
      if (isIts) this.#close(ask.id, "☑️ Decided elsewhere, or not needed any more.");
    }
  }

  /** The open turn runs under this id. What a person is asked for it and the bridge did not name is settled. */
  running(turn: OpenTurn, turnId: string): void {
    this.#running = { turn, turnId };
    for (const { id, key, turn: of } of this.#options.state.current.asks) {
      const isLost = of === turn.id && !this.#held.has(questionOf(key));
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
    if (held.isAsked) return;
    await this.#step(held, 0);
  }

  /** Asks one step of a question; the next one comes when it is answered. */
  async #step(held: Held, step: number): Promise<void> {
    if (held.asking === step) return;
    held.asking = step;
    try {
      const ask = await this.#ask(held.question, step);
      if (!ask) return this.#withdraw(held);
      held.isAsked = true;
      this.#look(this.#options.state.current);
    } catch (error) {
      const { world, name } = this.#options;
      const facts = { session: name, error: errorMessage(error) };
      world.logger.warn(facts, "a question of the agent could not be written down");
      this.#withdraw(held);
    }
  }

  async #ask({ id, turnId, steps }: AgentQuestion, step: number): Promise<Ask | undefined> {
    const { state, world, limit } = this.#options;
    const running = this.#running;
    const words = steps[step];
    if (turnId !== running?.turnId || !words) return undefined;
    const { turn } = running;
    const now = world.clock.now();
    return await state.reduce((document) => {
      const target = targetOf(document, turn);
      if (!target) return { document, answer: undefined };
      const { inputId } = turn;
      const key = stepKey(id, step);
      const facts = { id: `ask-${randomUUID()}`, key, turn: turn.id, target, inputId, words };
      const waitMs = leftMs(document, id, now);
      return openAsk(document, { ...facts, now, waitMs, limit });
    });
  }

  /** Tells the agent what was decided, or asks what comes next. */
  #look({ asks }: SessionDocument): void {
    for (const held of this.#held.values()) {
      if (!held.isAsked) continue;
      const progress = progressOf(held.question, asks);
      if (progress.state === "given up") this.#withdraw(held);
      else if (progress.state === "next") void this.#step(held, progress.step);
      else if (progress.state === "answered") {
        this.#held.delete(held.question.id);
        held.link.answer(held.question.id, progress.answer);
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

/** All steps of a question share one time, for the app-server waits only once. */
function leftMs({ asks }: SessionDocument, question: number, now: number): number {
  const first = asks.find(({ key }) => key === stepKey(question));
  return first ? Math.max(1, first.openedAt + ASK_WAIT_MS - now) : ASK_WAIT_MS;
}

/** Where the turn's words go. */
function targetOf({ inputs, home }: SessionDocument, { kind, inputId }: OpenTurn) {
  if (kind !== "message") return home;
  return inputs.find(({ id }) => id === inputId)?.source ?? null;
}
