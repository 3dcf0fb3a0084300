import { ArgusError } from "#lib/errors.ts";
import {
  ASK_WAIT_MS,
  type Ask,
  type AskWords,
  MAX_ASK_TEXT,
  MAX_ASKS,
  REFUSE,
} from "#protocol/ask.ts";
import type { EndedInput, Source } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { Reduced } from "./document.ts";
import { bytesOf, expire, roomForAnswer } from "./room.ts";

// Questions of a session to people, from the asking to the last word about it in the chat. Pure.

/** An end that no channel has shown is forgotten after this. */
const UNSHOWN_MS = 24 * 60 * 60_000;
/** Of an answer in words, so much is shown as the outcome. */
const MAX_LABEL = 200;

/** A person's answer. */
type Given = { choice: number } | { text: string };

export interface Asking {
  id: string;
  key: string;
  turn: string | null;
  target: Source;
  inputId: string | null;
  words: AskWords;
  now: number;
  /** How long an answer is waited for, ms. */
  waitMs?: number | undefined;
  limit: number;
}

/** Asks; a repeat of `key` is the same question. Undefined: there is no room for it. */
export function openAsk(
  before: SessionDocument,
  asking: Asking,
): Reduced<SessionDocument, Ask | undefined> {
  const known = before.asks.find(({ key }) => key === asking.key);
  if (known) return { document: before, answer: known };
  const { now, waitMs = ASK_WAIT_MS, limit, ...facts } = asking;
  const ask: Ask = {
    ...facts,
    openedAt: now,
    until: now + waitMs,
    state: "open",
    choice: null,
    outcome: "",
    told: false,
    ref: null,
    shown: "nothing",
  };
  const asks = withRoom(before.asks);
  const bytes = bytesOf(ask) + (ask.words.free ? 4 * MAX_ASK_TEXT : 0);
  const isFull = asks.length >= MAX_ASKS || bytes > roomForAnswer(before, limit);
  if (isFull) return { document: before, answer: undefined };
  // What stands in the chat above the question must not become the answer that comes after it.
  const inputs = before.inputs.map((each) =>
    each.id === ask.inputId && each.statusRef !== undefined ? withoutStatus(each) : each,
  );
  return { document: { ...before, inputs, asks: [...asks, ask] }, answer: ask };
}

function withoutStatus(input: SessionDocument["inputs"][number]) {
  const { statusRef: _, ...rest } = input;
  return rest;
}

/** Room for one more: the oldest leaves of which everything is said. */
function withRoom(asks: Ask[]): Ask[] {
  const first = asks.findIndex(isDone);
  return asks.length < MAX_ASKS || first < 0 ? asks : asks.toSpliced(first, 1);
}

/** Over, and the chat says so, or there is no message that could. */
function isDone({ state, shown, ref }: Ask): boolean {
  return state === "over" && (shown === "over" || ref === null);
}

export interface Decision {
  /** The number of a choice, or words of the person's own. */
  given: Given;
  /** Who decided, for people. */
  by: string;
  /** The message in which it was chosen. */
  ref?: string | undefined;
}

/** The first answer wins. Throws `NotFound` for a question that is not known (any more), `InvalidInput` for no choice of it. */
export function decideAsk(
  before: SessionDocument,
  id: string,
  { given, by, ref }: Decision,
): Reduced<SessionDocument, { isFirst: boolean; outcome: string }> {
  const ask = before.asks.find((each) => each.id === id);
  if (!ask) throw new ArgusError("NotFound", "This question is over.");
  if (ask.state === "over") {
    const answer = { isFirst: false, outcome: ask.outcome };
    // Another message of it, which is still open, can be found now.
    const isLost = ref !== undefined && ref !== ask.ref;
    return { document: isLost ? changed(before, id, { ref, shown: "open" }) : before, answer };
  }
  const label = labelOf(ask.words, given);
  const outcome = `${label === REFUSE ? "🚫" : "✅"} ${label}: ${by}`.slice(0, 512).toWellFormed();
  const over = { state: "over", ...given, outcome, ref: ref ?? ask.ref } as const;
  return { document: changed(before, id, over), answer: { isFirst: true, outcome } };
}

/** What was answered, for people. Throws `InvalidInput` for what is no answer of it. */
function labelOf({ choices, free }: AskWords, given: Given): string {
  if ("choice" in given) {
    const label = choices[given.choice];
    if (label !== undefined) return label;
    throw new ArgusError("InvalidInput", "There is no such choice.");
  }
  if (!free) throw new ArgusError("InvalidInput", "Choose one of the answers.");
  if (given.text.length > MAX_ASK_TEXT) {
    throw new ArgusError("TooLarge", `An answer may have at most ${MAX_ASK_TEXT} characters.`);
  }
  return given.text.replace(/\s+/g, " ").slice(0, MAX_LABEL);
}

interface MessageAnswer {
  text: string;
  by: string;
  /** The message that it replies to. */
  ref: string;
  message: Omit<EndedInput, "state" | "reason">;
  limit: number;
}

/** A message that answers a question instead of being one: a repeat of its key is the same answer. Undefined: it is no answer (any more). */
export function answerByMessage(
  before: SessionDocument,
  id: string,
  { text, by, ref, message, limit }: MessageAnswer,
): Reduced<SessionDocument, EndedInput | undefined> {
  const known = before.ended.find(({ key }) => key === message.key);
  if (known) return { document: before, answer: known };
  const ask = before.asks.find((each) => each.id === id);
  const isOpen = ask?.state === "open" && ask.words.free === true;
  if (!isOpen || before.inputs.some(({ key }) => key === message.key)) {
    return { document: before, answer: undefined };
  }
  const { document } = decideAsk(before, id, { given: { text }, by, ref });
  const ended: EndedInput = { ...message, state: "done", reason: "" };
  const after = { ...document, ended: [...document.ended, ended] };
  return { document: expire(after, message.endedAt, limit), answer: ended };
}

/** From now on an adapter may show it. */
export function tellAsk(before: SessionDocument, id: string): SessionDocument {
  const isNew = before.asks.some((each) => each.id === id && !each.told);
  return isNew ? changed(before, id, { told: true }) : before;
}

/** Nobody decides it any more. The same document when it is over already. */
export function closeAsk(before: SessionDocument, id: string, outcome: string): SessionDocument {
  const isOpen = before.asks.some((each) => each.id === id && each.state === "open");
  return isOpen ? changed(before, id, { state: "over", outcome: outcome.slice(0, 512) }) : before;
}

/** Their turn has ended. */
export function closeAsksOf(before: SessionDocument, turn: string, now: number): SessionDocument {
  const outcome = "⏹ The turn ended before anybody decided.";
  const closed = before.asks.reduce(
    (document, ask) => (ask.turn === turn ? closeAsk(document, ask.id, outcome) : document),
    before,
  );
  return withoutDone(closed, now);
}

/** The channel has shown it so far. Null = it is not known any more. */
export function shownAsk(
  before: SessionDocument,
  {
    id,
    state,
    ref,
    now,
  }: { id: string; state: "open" | "over"; ref: string | undefined; now: number },
): Reduced<SessionDocument, Ask | null> {
  const ask = before.asks.find((each) => each.id === id);
  if (!ask) return { document: before, answer: null };
  const document = changed(before, id, { shown: state, ref: ref ?? ask.ref });
  return { document: withoutDone(document, now), answer: ask };
}

/** What time alone ends: those that nobody answered count as refused. The same document when there is nothing. */
export function sweepAsks(before: SessionDocument, now: number): SessionDocument {
  const late = before.asks.filter(({ state, until }) => state === "open" && until <= now);
  const swept = late.reduce((document, { id, words, openedAt, until }) => {
    const refusal = words.choices.indexOf(REFUSE);
    const minutes = Math.max(1, Math.round((until - openedAt) / 60_000));
    const outcome = `⌛ Nobody answered within ${minutes} min: it was refused.`;
    return changed(document, id, { state: "over", outcome, choice: refusal < 0 ? null : refusal });
  }, before);
  return withoutDone(swept, now);
}

/** While its turn is open it is kept: the agent may ask the same once more. */
function withoutDone(before: SessionDocument, now: number): SessionDocument {
  const isKept = (ask: Ask) => {
    if (ask.state === "open") return true;
    if (ask.turn !== null && before.turn?.id === ask.turn) return true;
    if (ask.turn === null && now < ask.until) return true;
    return !isDone(ask) && now < ask.until + UNSHOWN_MS;
  };
  const asks = before.asks.filter(isKept);
  return asks.length === before.asks.length ? before : { ...before, asks };
}

function changed(before: SessionDocument, id: string, change: Partial<Ask>): SessionDocument {
  const asks = before.asks.map((each) => (each.id === id ? { ...each, ...change } : each));
  return { ...before, asks };
}
