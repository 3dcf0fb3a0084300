import type { Delivery } from "#protocol/delivery.ts";
import type { EndedEvent, EndedInput, OpenTurn } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { closeAsksOf } from "./asks.ts";
import { addDelivery } from "./deliveries.ts";
import type { Reduced } from "./document.ts";
import { endEvents } from "./events.ts";
import { endInput } from "./inputs.ts";
import { failureWords, isAllQuiet, quietText } from "./words.ts";

// A session's one turn, from the decision to start it to its end. Pure.

/** What a new turn is about; its id is the caller's. */
export type TurnPlan = Omit<OpenTurn, "startedAt" | "stop">;

/** From now on the turn's start may leave. False: another one is open, or what it is about is not there any more. */
export function begin(
  document: SessionDocument,
  plan: TurnPlan,
  now: number,
): Reduced<SessionDocument, boolean> {
  if (document.turn) return { document, answer: document.turn.id === plan.id };
  const isHead = plan.inputId === null || document.inputs[0]?.id === plan.inputId;
  const open = new Set(document.events.map(({ id }) => id));
  if (!isHead || !plan.eventIds.every((id) => open.has(id))) return { document, answer: false };
  const turn: OpenTurn = { ...plan, startedAt: now };
  const isBeat = plan.kind === "heartbeat";
  const heartbeat = isBeat
    ? { ...document.heartbeat, lastAt: now, requested: false }
    : document.heartbeat;
  return { document: { ...document, turn, heartbeat }, answer: true };
}

/** How a turn ended, as the bridge and the app-server tell it. */
export interface TurnEnd {
  /** Of the open turn. */
  id: string;
  /** `refused`: it never ran and never will. `unknown`: nobody can tell whether it ran. */
  outcome: "done" | "failed" | "interrupted" | "refused" | "unknown";
  /** In words; empty when done. */
  reason: string;
  threadId: string | null;
  /** The app-server's id of it. */
  turnId: string | null;
  /** A tool item was seen, or nobody can tell. */
  ranTool: boolean;
  /** The agent's last words; Markdown. */
  text: string;
  now: number;
  limit: number;
}

export interface TurnEnded {
  input?: EndedInput;
  delivery?: Delivery;
  /** Events that were given up with it. */
  dead: EndedEvent[];
}

/** Ends the open turn with everything that follows from it, in one step. Undefined: it had ended before. */
export function endTurn(
  document: SessionDocument,
  end: TurnEnd,
): Reduced<SessionDocument, TurnEnded | undefined> {
  const { turn } = document;
  if (turn?.id !== end.id) return { document, answer: undefined };
  const heartbeat = { ...document.heartbeat, failures: beatFailures(document, turn, end) };
  const closed = closeAsksOf({ ...document, turn: null, heartbeat }, end.id, end.now);
  const { document: settled, answer: dead } = settleEvents(closed, turn, end);
  const { document: after, answer: input } = settleInput(settled, turn, end);
  const editRef = document.inputs.find(({ id }) => id === turn.inputId)?.statusRef;
  const told = tell(after, { turn, end, dead, source: input?.source ?? null, editRef });
  const answer = {
    ...(input ? { input } : {}),
    ...(told.answer ? { delivery: told.answer } : {}),
    dead,
  };
  return { document: told.document, answer };
}

function beatFailures(
  { heartbeat }: SessionDocument,
  { kind }: OpenTurn,
  { outcome }: TurnEnd,
): number {
  if (kind !== "heartbeat") return heartbeat.failures;
  return outcome === "done" ? 0 : heartbeat.failures + 1;
}

function settleEvents(document: SessionDocument, { eventIds }: OpenTurn, end: TurnEnd) {
  const { outcome: state, ranTool, reason, now, limit } = end;
  const words = state === "unknown" ? `OutcomeUnknown: ${reason}` : reason;
  const isHarmless = !ranTool && state !== "unknown";
  const outcome = state === "done" ? "done" : isHarmless ? "again" : "dead";
  return endEvents(document, { ids: eventIds, outcome, reason: words, now, limit });
}

function settleInput(document: SessionDocument, { inputId }: OpenTurn, end: TurnEnd) {
  if (inputId === null) return { document, answer: undefined };
  const { outcome, reason, turnId, threadId, now, limit } = end;
  const state = outcome === "refused" ? "failed" : outcome;
  return endInput(document, { id: inputId, state, reason, turnId, threadId, now, limit });
}

interface Telling {
  turn: OpenTurn;
  end: TurnEnd;
  dead: EndedEvent[];
  source: EndedInput["source"];
  editRef: string | undefined;
}

/** The words of the turn go to whoever caused it; a failure is told, never only logged. */
function tell(
  document: SessionDocument,
  { turn, end, dead, source, editRef }: Telling,
): Reduced<SessionDocument, Delivery | undefined> {
  const isMessage = turn.kind === "message";
  const target = isMessage ? source : document.home;
  const text = isMessage ? messageWords(end) : backgroundWords(end, dead);
  if (!target || text === "") return { document, answer: undefined };
  const { threadId, turnId, now, limit } = end;
  const isNotice = end.outcome !== "done";
  const canRetry = isMessage && isNotice;
  return addDelivery(document, {
    id: `out-${turn.id}`,
    target,
    kind: isNotice ? "notice" : turn.kind,
    inputId: turn.inputId,
    threadId,
    turnId,
    text,
    canRetry,
    editRef,
    now,
    limit,
  });
}

function messageWords({ outcome, reason, text }: TurnEnd): string {
  if (outcome === "done") return text.trim() || quietText;
  const words = failureWords(outcome, reason);
  return text.trim() ? `${text.trim()}\n\n${words}` : words;
}

function backgroundWords({ outcome, text }: TurnEnd, dead: EndedEvent[]): string {
  const said = isAllQuiet(text) ? "" : text.trim();
  if (outcome === "done") return said;
  const given = dead.map(
    ({ kind, source, reason }) => `⚠️ A ${kind} event of ${source.name} was given up: ${reason}`,
  );
  return [said, ...given].filter((line) => line !== "").join("\n\n");
}

/** Somebody wants the open turn to end; it is interrupted as soon as the bridge can be asked. */
export function stopTurn(
  document: SessionDocument,
  { id, reason }: { id?: string | undefined; reason: string },
): Reduced<SessionDocument, OpenTurn | undefined> {
  const { turn } = document;
  if (!turn || (id !== undefined && turn.id !== id && turn.inputId !== id))
    return { document, answer: undefined };
  if (turn.stop !== undefined) return { document, answer: turn };
  const stopped = { ...turn, stop: reason };
  return { document: { ...document, turn: stopped }, answer: stopped };
}

/** The runtime does not have the main thread any more: what waits for it gets another one. */
export function loseThread(document: SessionDocument, threadId: string): SessionDocument {
  const { mainThread, turn } = document;
  if (mainThread !== threadId) return document;
  const moved = turn?.threadId === threadId ? { ...turn, threadId: null } : turn;
  return { ...document, mainThread: null, turn: moved };
}
