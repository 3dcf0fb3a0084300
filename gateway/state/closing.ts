import type { EndedInput, LaneInput, Source } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { closeAsk } from "./asks.ts";
import { dropCalls } from "./calls.ts";
import { addDelivery } from "./deliveries.ts";
import type { Reduced } from "./document.ts";
import { endEvents } from "./events.ts";
import { endInput } from "./inputs.ts";

// The end of a session: nothing is taken any more, what is open ends, and whoever waits is told. Pure.

const DELETED = "the session was deleted";

/** What ended with the session: its messages, how many events, and how many calls that waited for a device. */
export interface Closed {
  inputs: EndedInput[];
  events: number;
  calls: number;
}

/** Ends everything that is open. The same document when it is closing already. */
export function closeAll(
  document: SessionDocument,
  { now, limit }: { now: number; limit: number },
): Reduced<SessionDocument, Closed> {
  if (document.closing) return { document, answer: { inputs: [], events: 0, calls: 0 } };
  const { turn, inputs, events, heartbeat } = document;
  const shut = {
    ...document.asks.reduce((before, { id }) => closeAsk(before, id, `⏹ ${DELETED}.`), document),
    closing: true,
    turn: null,
    heartbeat: { ...heartbeat, requested: false },
  };
  const ids = events.map(({ id }) => id);
  const ending = { ids, outcome: "dead", reason: DELETED, now, limit } as const;
  const { document: eventless } = endEvents(shut, ending);
  const { document: quiet, answer: calls } = dropCalls(eventless, DELETED, { now, limit });
  const ended: EndedInput[] = [];
  const closed = inputs.reduce((before, input) => {
    const state = turn?.inputId === input.id ? "interrupted" : "failed";
    const reason = state === "interrupted" ? DELETED : `${DELETED} before its turn started`;
    const end = endInput(before, { id: input.id, state, reason, now, limit });
    if (end.answer) ended.push(end.answer);
    return end.document;
  }, quiet);
  const notices = noticesOf({ inputs, home: document.home, events: events.length, calls });
  const answer = { inputs: ended, events: ids.length, calls };
  return { document: withNotices(closed, notices, { now, limit }), answer };
}

interface Notice {
  target: Source;
  inputId: string | null;
  text: string;
}

/** One for each chat, however much of it was open. */
function noticesOf(open: {
  inputs: readonly LaneInput[];
  home: Source | null;
  events: number;
  calls: number;
}): Notice[] {
  const chats = new Map<string, { target: Source; inputs: LaneInput[] }>();
  for (const input of open.inputs) {
    if (!input.source) continue;
    const key = `${input.source.channel} ${input.source.chatKey}`;
    const chat = chats.get(key) ?? { target: input.source, inputs: [] };
    chat.inputs.push(input);
    chats.set(key, chat);
  }
  const notices = [...chats.values()].map(({ target, inputs }) => ({
    target,
    inputId: inputs[0]?.id ?? null,
    text: `⏹ The session was deleted: ${counted(inputs.length, "message")} of yours will not be answered.`,
  }));
  const { home } = open;
  if (!home) return notices;
  const words = [
    open.events > 0 ? `${counted(open.events, "event")} will not be looked at.` : "",
    open.calls > 0 ? `${counted(open.calls, "call")} that waited for a device will not run.` : "",
  ].filter(Boolean);
  const more = words.map((each) => `⏹ The session was deleted: ${each}`);
  return [...notices, ...more.map((text) => ({ target: home, inputId: null, text }))];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function withNotices(
  document: SessionDocument,
  notices: readonly Notice[],
  times: { now: number; limit: number },
): SessionDocument {
  return notices.reduce((before, notice, index) => {
    const facts = { kind: "notice", threadId: null, turnId: null, canRetry: false } as const;
    return addDelivery(before, { id: `closed-${index}`, ...notice, ...facts, ...times }).document;
  }, document);
}
