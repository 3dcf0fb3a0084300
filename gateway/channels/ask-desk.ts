import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Ask } from "#protocol/ask.ts";
import { type AskNotice, CHANNEL_ASK } from "#protocol/channel-asks.ts";
import type { Source } from "#protocol/lane-entry.ts";
import type { Lane } from "../lanes/lane.ts";
import { closeAsk, sweepAsks, tellAsk } from "../state/asks.ts";

/** What was not shown is told again after this: news may be dropped. */
const TELL_AGAIN_MS = 5000;
/** A channel without an adapter is waited for this long; then others may answer. */
const AWAY_MS = 5 * 60_000;

/** A channel's adapter that shows questions. */
export interface Asker {
  notify(method: string, params: unknown): void;
}

export interface AskDeskOptions {
  logger: Logger;
  /** Who shows a channel's questions; `away` = nobody is connected, `cannot` = the channel has no such thing. */
  askerOf: (channel: string) => Asker | "away" | "cannot";
}

interface Entry {
  lane: Lane;
  name: string;
  asks: Ask[];
}

/** The open questions of all sessions: shown by their channels' adapters, told again until they are, ended in time. */
export class AskDesk {
  readonly #options: AskDeskOptions;
  readonly #sessions = new Map<string, Entry>();
  /** To whom each was told last. */
  readonly #told = new Map<string, Asker>();
  readonly #since = Date.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AskDeskOptions) {
    this.#options = options;
  }

  changed(uid: string, lane: Lane, name: string): void {
    const { asks } = lane.state.current;
    const before = this.#sessions.get(uid);
    if (before?.asks === asks || (!before && asks.length === 0)) return;
    for (const { id } of before?.asks ?? []) {
      if (!asks.some((each) => each.id === id)) this.#told.delete(id);
    }
    if (asks.length === 0) this.#sessions.delete(uid);
    else this.#sessions.set(uid, { lane, name, asks });
    const isNew = (ask: Ask) => !before?.asks.includes(ask);
    for (const ask of asks.filter(isNew)) this.#tell(ask, { lane, name });
    this.#arm();
  }

  gone(uid: string): void {
    this.#sessions.delete(uid);
    this.#arm();
  }

  /** An adapter of the channel can be told from now on. */
  adapterCame(channel: string): void {
    for (const session of this.#sessions.values()) {
      const own = session.asks.filter(({ target }) => target.channel === channel);
      for (const ask of own) this.#tell(ask, session);
    }
  }

  /** The session's lane and the question. */
  find(askId: string): { lane: Lane; ask: Ask } | undefined {
    for (const { lane, asks } of this.#sessions.values()) {
      const ask = asks.find(({ id }) => id === askId);
      if (ask) return { lane, ask };
    }
    return undefined;
  }

  /** The open question that this message of the chat shows, and that words answer. */
  shownAs(
    { channel, chatKey }: Source,
    { ref, question }: { ref: string; question?: string | undefined },
  ): { lane: Lane; ask: Ask; name: string } | undefined {
    for (const { lane, name, asks } of this.#sessions.values()) {
      const ask = asks.find(
        (each) =>
          (each.ref === ref || each.words.question.trim() === question?.trim()) &&
          each.state === "open" &&
          each.words.free === true &&
          each.target.channel === channel &&
          each.target.chatKey === chatKey,
      );
      if (ask) return { lane, ask, name };
    }
    return undefined;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    if (this.#sessions.size === 0) this.close();
    else this.#timer ??= setInterval(() => this.#tick(), TELL_AGAIN_MS).unref();
  }

  #tick(): void {
    const now = Date.now();
    for (const { lane, name, asks } of this.#sessions.values()) {
      for (const ask of asks) this.#tell(ask, { lane, name });
      this.#act(name, () => lane.state.update((document) => sweepAsks(document, now)));
      for (const ask of asks.filter((each) => this.#isUnreachable(each, now))) {
        const outcome = "☑️ It could not be asked here.";
        this.#act(name, () => lane.state.update((document) => closeAsk(document, ask.id, outcome)));
      }
    }
  }

  #isUnreachable({ state, shown, target, openedAt }: Ask, now: number): boolean {
    if (state === "over" || shown !== "nothing") return false;
    const asker = this.#options.askerOf(target.channel);
    return (
      asker === "cannot" || (asker === "away" && now - Math.max(openedAt, this.#since) > AWAY_MS)
    );
  }

  /** What nobody was told before is first written down as told: a successor must know that it may be in the chat. */
  #tell(ask: Ask, { lane, name }: Pick<Entry, "lane" | "name">): void {
    if (!isUnshown(ask)) return;
    const asker = this.#options.askerOf(ask.target.channel);
    if (asker === "away" || asker === "cannot") return;
    const before = this.#told.get(ask.id);
    this.#told.set(ask.id, asker);
    if (!ask.told) {
      return this.#act(name, () => lane.state.update((document) => tellAsk(document, ask.id)));
    }
    const again = ask.shown === "nothing" && before !== asker;
    asker.notify(CHANNEL_ASK.ask, noticeOf(ask, name, again));
  }

  #act(name: string, act: () => Promise<unknown>): void {
    act().catch((error: unknown) => {
      const facts = { session: name, error: errorMessage(error) };
      this.#options.logger.warn(facts, "a question was not ended in time; trying again");
    });
  }
}

/** The chat does not say yet how it stands. One that is over and that nobody saw is not shown any more. */
function isUnshown({ state, shown, ref }: Ask): boolean {
  return state === "open" ? shown === "nothing" : shown !== "over" && ref !== null;
}

function noticeOf(ask: Ask, sessionId: string, again: boolean): AskNotice {
  const { id: askId, target, inputId, words, until, outcome, ref } = ask;
  return {
    askId,
    sessionId,
    chatKey: target.chatKey,
    inputId,
    ...words,
    until,
    outcome,
    ref,
    again,
  };
}
