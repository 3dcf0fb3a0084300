import { setTimeout as delay } from "node:timers/promises";
import { AGAIN_MARK } from "#channel/sender.ts";
import type { FakeTelegram, Person } from "#test/fakes/telegram.ts";

/** Messages without an answer at once: what a session keeps is bounded. */
const MOST_OPEN = 40;
/** A person who writes faster is told so. */
const PERSON_MS = 2100;

export type Kind = "plain" | "long" | "slow";

export interface Said {
  who: Person;
  /** Of the message in its chat. */
  messageId: number;
  /** How many the person said before. */
  number: number;
  kind: Kind;
  /** What the answer shows: the number, or how many slow ones the person wanted before. */
  shows: number;
}

/** What the chat shows of the answer to one message: how many times each part, without and with the mark. */
export interface Seen {
  plain: number;
  marked: number;
  /** Second part of a long answer. */
  rest: number;
  restMarked: number;
}

/** People who write all at once, and what of the answers stands in their chats. */
export class Crowd {
  readonly all: Said[] = [];
  readonly people: Person[];
  readonly #telegram: FakeTelegram;
  readonly #next = new Map<Person, number>();

  constructor(telegram: FakeTelegram, chats: number) {
    this.#telegram = telegram;
    this.people = Array.from({ length: chats }, (_, index) => telegram.people.person(`P${index}`));
  }

  /** Each person in turn; at most so many messages wait for their answers. `onSaid`: with the number of those said in this call. */
  async talk(count: number, random: () => number, onSaid: (said: number) => void): Promise<void> {
    const open = new Set<Said>();
    const last = new Map<Person, number>();
    for (let index = 0; index < count; index += 1) {
      const who = this.people[index % this.people.length] as Person;
      await delay(Math.max(0, (last.get(who) ?? 0) + PERSON_MS - Date.now()));
      await this.#telegram.waitFor("room for another message", () => this.#hasRoom(open), 300_000);
      open.add(this.#say(who, random()));
      last.set(who, Date.now());
      onSaid(index + 1);
    }
  }

  #hasRoom(open: Set<Said>): boolean {
    for (const said of open) {
      const { plain, marked } = this.seen(said);
      if (plain + marked > 0) open.delete(said);
    }
    return open.size < MOST_OPEN;
  }

  #say(who: Person, chance: number): Said {
    const number = this.#next.get(who) ?? 0;
    this.#next.set(who, number + 1);
    const kind = chance < 0.01 ? "slow" : chance < 0.03 ? "long" : "plain";
    const isSlow = (each: Said) => each.who === who && each.kind === "slow";
    const shows = kind === "slow" ? this.all.filter(isSlow).length : number;
    const message = this.#telegram.people.say(who, wordsOf(kind, shows));
    const said = { who, messageId: message.id, number, kind, shows } as const;
    this.all.push(said);
    return said;
  }

  texts(who: Person): string[] {
    return this.#telegram.sent(who).map(({ versions }) => versions.at(-1)?.text ?? "");
  }

  /** All that a message of the bot ever said, for whoever looks for what is missing. */
  history(who: Person, ref: string | null | undefined): string {
    const found = this.#telegram.everSent.find(
      ({ chatId, id }) => chatId === who.id && `${id}` === ref,
    );
    const said = found?.versions.map(
      ({ text, atMs }) => `${atMs} ${JSON.stringify(text.slice(0, 80))}`,
    );
    return `message ${ref}: ${said?.join(", ")}${found?.deletedMs ? `, deleted ${found.deletedMs}` : ""}`;
  }

  seen({ who, shows, kind }: Said): Seen {
    const texts = this.texts(who);
    const words = kind === "slow" ? SLOW : PLAIN;
    const first = texts.filter((text) => numberIn(text, words) === shows);
    const rest = texts.filter((text) => new RegExp(`end-${shows}(?!\\d)`).test(text));
    return {
      plain: first.length - marks(first),
      marked: marks(first),
      rest: rest.length - marks(rest),
      restMarked: marks(rest),
    };
  }

  /** Numbers of the answered messages in the order of the chat, each once. */
  order(who: Person): number[] {
    return [...new Set(this.texts(who).flatMap((text) => numberIn(text, PLAIN) ?? []))];
  }
}

/** A slow answer counts its words, five a second, and says nothing else. */
const SLOW_WORDS = 20;

function wordsOf(kind: Kind, number: number): string {
  if (kind === "slow") return `/slow ${(SLOW_WORDS + number) / 5}`;
  const word = `m-${number}.`;
  return kind === "plain" ? word : `${word} ${"long ".repeat(800)}${"x".repeat(80)} end-${number}.`;
}

const PLAIN = /echo: m-(\d+)\./;
const SLOW = /echo: slowly .*?(\d+)\s*$/s;

function numberIn(text: string, words: RegExp): number | undefined {
  const found = words.exec(text)?.[1];
  if (found === undefined) return undefined;
  return words === SLOW ? Number(found) - SLOW_WORDS : Number(found);
}

const marks = (texts: string[]) => texts.filter((text) => text.startsWith(AGAIN_MARK)).length;
