import { afterAll, beforeAll, expect, test } from "vitest";
import { AGAIN_MARK } from "#channel/sender.ts";
import { type FakeTelegram, type Person, startTelegram } from "#test/fakes/telegram.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { proofSize } from "#test/support/proof.ts";
import { proofSeed } from "#test/support/seed.ts";
import { randomSource } from "../bench/relay/random-lines.ts";

const BOT = "argus.ts telegram";
const GATEWAY = "argus.ts gateway";
const MOST_CHATS = 100;
/** Messages without an answer at once: what a session keeps is bounded. */
const MOST_OPEN = 40;
/** A person who writes faster is told so. */
const PERSON_MS = 2100;

let telegram: FakeTelegram;
let up: ArgusUp;
let people: Person[];
beforeAll(async () => {
  telegram = await startTelegram();
  people = Array.from({ length: MOST_CHATS }, (_, index) => telegram.people.person(`P${index}`));
  up = await ArgusUp.start({
    env: {
      ARGUS_TELEGRAM_TOKEN: telegram.token,
      ARGUS_TELEGRAM_API: telegram.url,
      ARGUS_TELEGRAM_OWNERS: people.map(({ id }) => id).join(","),
    },
  });
  await telegram.waitFor("the poll", () => telegram.polled(), 60_000);
}, 120_000);
afterAll(async () => {
  await up?.destroy();
  await telegram?.stop();
});

const textsOf = (who: Person) =>
  telegram.sent(who).map(({ versions }) => versions.at(-1)?.text ?? "");
const answersTo = (who: Person, word: string) =>
  textsOf(who).filter((text) => new RegExp(`echo: ${word}(?!\\d)`).test(text));

function kill(words: string): number {
  const found = up.find(words);
  for (const { pid } of found) process.kill(pid, "SIGKILL");
  return found.length;
}

test("a long turn is shown while it runs; its answer takes the place of that message, though the edit's fate is unknown", async () => {
  const [ada] = people as [Person];
  telegram.people.say(ada, "/slow 9");
  const status = await telegram.waitFor(
    "the status message",
    () => telegram.sent(ada).find(({ versions }) => versions[0]?.text.startsWith("⏳")),
    60_000,
  );
  telegram.faults.add({
    fault: { cut: "after" },
    method: "editMessageText",
    when: ({ text }) => String(text).includes("slowly"),
  });
  await telegram.waitFor(
    "the answer",
    () => status.versions.at(-1)?.text.includes("slowly"),
    60_000,
  );
  const isOver = async () => (await deliveries()).deliveries.length === 0;
  await eventually("the delivery is over", isOver, 90_000);
  expect(textsOf(ada).filter((text) => text.includes("slowly"))).toHaveLength(1);
  expect(textsOf(ada).filter((text) => text.includes("⏳"))).toEqual([]);
  expect(textsOf(ada).join()).not.toContain(AGAIN_MARK);
  // Longer than a status message that nobody took for an answer is left in the chat.
  await new Promise((resolve) => setTimeout(resolve, 12_000));
  expect(status.deletedMs).toBeUndefined();
}, 180_000);

async function deliveries() {
  const client = await up.connect({ session: "main" });
  const list = await client.request("argus/delivery/list");
  await client.close();
  return list as unknown as { deliveries: object[]; ended: { state: string }[] };
}

interface Said {
  who: Person;
  word: string;
}

/** All people write; at most so many messages wait for their answers. */
async function talk(count: number, chats: number): Promise<Said[]> {
  const all = Array.from({ length: count }, (_, index) => {
    const who = people[index % chats] as Person;
    return { who, word: `m-${index % chats}-${Math.floor(index / chats)}` };
  });
  const open = new Set<Said>();
  const last = new Map<Person, number>();
  for (const said of all) {
    const dueAt = (last.get(said.who) ?? 0) + PERSON_MS;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueAt - Date.now())));
    const hasRoom = () => {
      for (const each of open) if (answersTo(each.who, each.word).length > 0) open.delete(each);
      return open.size < MOST_OPEN;
    };
    await telegram.waitFor("room for another message", hasRoom, 240_000);
    telegram.people.say(said.who, said.word);
    last.set(said.who, Date.now());
    open.add(said);
  }
  return all;
}

function addFaults(): void {
  const sends = { method: ["sendMessage", "editMessageText"] };
  telegram.faults.add({ ...sends, fault: { cut: "before" }, chance: 0.02 });
  telegram.faults.add({ ...sends, fault: { cut: "after" }, chance: 0.02 });
  telegram.faults.add({ ...sends, fault: { status: 502, when: "before" }, chance: 0.02 });
  telegram.faults.add({ ...sends, fault: { status: 502, when: "after" }, chance: 0.01 });
  telegram.faults.add({ ...sends, fault: { retryAfter: 3 }, chance: 0.02 });
  telegram.faults.add({ method: "getUpdates", fault: { cut: "after" }, chance: 0.05 });
  telegram.faults.add({ method: "getUpdates", fault: { status: 500 }, chance: 0.05 });
}

/** Kills bot and gateway in turn until told to stop; the bot more often. */
async function killing(count: number, random: () => number, over: AbortSignal): Promise<number> {
  let killed = 0;
  for (let index = 0; index < count && !over.aborted; index += 1) {
    await new Promise((resolve) => setTimeout(resolve, 2000 + random() * 6000));
    if (!over.aborted) killed += kill(index % 3 === 2 ? GATEWAY : BOT);
  }
  return killed;
}

test("many chats, Telegram fails at random, bot and gateway are killed: every message is answered, again only with the mark, in order", async () => {
  const random = randomSource(proofSeed());
  const count = proofSize(100, 10_000);
  const chats = count > 200 ? MOST_CHATS : 10;
  addFaults();
  const over = new AbortController();
  const killer = killing(count > 200 ? 60 : 6, random, over.signal);
  const all = await talk(count, chats);
  over.abort();
  const kills = await killer;
  const missing = () => all.filter(({ who, word }) => answersTo(who, word).length === 0);
  await telegram.waitFor("all answers", () => missing().length === 0, 300_000).catch(() => {});
  telegram.faults.clear();
  await eventually(
    "nothing is open",
    async () => (await deliveries()).deliveries.length === 0,
    300_000,
  );
  // Neither of the two tries that the rule allows had an effect: nobody can know, and the record says so.
  const unknown = (await deliveries()).ended.filter(({ state }) => state === "ambiguous").length;
  const lost = missing().map(({ word }) => word);
  expect(lost.length, `without an answer: ${lost.join()}`).toBeLessThanOrEqual(unknown);
  let repeated = 0;
  for (const { who, word } of all) {
    const answers = answersTo(who, word);
    const marked = answers.filter((text) => text.startsWith(AGAIN_MARK)).length;
    expect(answers.length - marked, `unmarked answers to ${word}`).toBeLessThanOrEqual(1);
    expect(marked, `marked answers to ${word}`).toBeLessThanOrEqual(1);
    if (answers.length > 1) repeated += 1;
  }
  for (const who of people.slice(0, chats)) {
    const order = textsOf(who).flatMap((text) => /echo: m-\d+-(\d+)/.exec(text)?.[1] ?? []);
    const firsts = [...new Set(order)].map(Number);
    expect(firsts, `order in the chat of ${who.user.first_name}`).toEqual(
      firsts.toSorted((a, b) => a - b),
    );
  }
  const refused = telegram.refused.length;
  console.info(
    `${all.length} messages, ${chats} chats, ${kills} kills: 0 lost without a word, ${lost.length} ambiguous after both tries had no effect, ${repeated} came twice with the mark; ${refused} requests over Telegram's limits`,
  );
}, 3_600_000);
