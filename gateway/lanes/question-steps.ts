import type { Ask } from "#protocol/ask.ts";
import type { AgentQuestion, Given } from "./agent-question.ts";

// How far a question of the agent has come, by what the document says of its steps. Pure.

/** The document's name of a step; the first one's is that of the question. */
export function stepKey(question: number, step = 0): string {
  return step === 0 ? `turn/${question}` : `turn/${question}/${step}`;
}

/** The question that a step's key belongs to; NaN = none. */
export function questionOf(key: string): number {
  return Number(/^turn\/(\d+)(?:\/\d+)?$/.exec(key)?.[1] ?? Number.NaN);
}

export type Progress =
  | { state: "open" }
  /** Its turn has come; it is not asked yet. */
  | { state: "next"; step: number }
  | { state: "answered"; answer: unknown }
  /** Nobody decided one of them, and nobody will. */
  | { state: "given up" };

export function progressOf({ id, steps, answer }: AgentQuestion, asks: readonly Ask[]): Progress {
  const given: Given[] = [];
  for (const step of steps.keys()) {
    const ask = asks.find(({ key }) => key === stepKey(id, step));
    if (!ask) return step === 0 ? { state: "given up" } : { state: "next", step };
    if (ask.state === "open") return { state: "open" };
    const one = givenIn(ask);
    if (!one) return { state: "given up" };
    given.push(one);
  }
  return { state: "answered", answer: answer(given) };
}

function givenIn({ choice, text, words }: Ask): Given | undefined {
  if (text !== undefined) return { text };
  return choice !== null && choice < words.choices.length ? { choice } : undefined;
}
