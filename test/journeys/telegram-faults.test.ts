import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AGAIN_MARK } from "#channel/sender.ts";
import { type FakeTelegram, type Person, startTelegram } from "#test/fakes/telegram.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { isFullProof, proofSize, proved } from "#test/support/proof.ts";
import { proofSeed } from "#test/support/seed.ts";
import { Books, PeakMemory } from "#test/support/telegram-books.ts";
import { Crowd } from "#test/support/telegram-crowd.ts";
import { intoPauses, judge } from "#test/support/telegram-verdict.ts";
import { UpSessions } from "#test/support/up-sessions.ts";
import { randomSource } from "../bench/relay/random-lines.ts";

const BOT = "argus.mjs telegram";
const GATEWAY = "argus.mjs gateway";
/** Each takes some minutes; one alone can be run by its name. */
const PIECES = isFullProof ? 4 : 1;
const MOST_RSS_MIB = 150;
const seed = proofSeed();
const sessions = Array.from({ length: isFullProof ? 6 : 2 }, (_, index) => `room-${index}`);

let telegram: FakeTelegram;
let up: ArgusUp;
let crowd: Crowd;
let ada: Person;
let own: UpSessions;
let books: Books;
let memory: PeakMemory;
beforeAll(async () => {
  telegram = await startTelegram({ seed });
  crowd = new Crowd(telegram, isFullProof ? 100 : 10);
  ada = telegram.people.person("Ada");
  up = await ArgusUp.start({
    env: {
      ARGUS_TELEGRAM_TOKEN: telegram.token,
      ARGUS_TELEGRAM_API: telegram.url,
      ARGUS_TELEGRAM_OWNERS: [ada, ...crowd.people].map(({ id }) => id).join(","),
    },
  });
  own = new UpSessions(up);
  for (const name of sessions) await own.apply(name);
  for (const [index, { id }] of crowd.people.entries()) {
    const session = sessions[index % sessions.length] ?? "";
    await own.call(session, "chat/bind", { session, chat: `telegram:${id}` });
  }
  books = new Books(own, sessions);
  memory = new PeakMemory(up, BOT);
  await telegram.waitFor("the poll", () => telegram.polled(), 60_000);
}, 240_000);
afterAll(async () => {
  memory?.stop();
  await up?.destroy();
  await telegram?.stop();
});

function kill(words: string): number {
  const found = up.find(words);
  memory.look();
  for (const { pid } of found) process.kill(pid, "SIGKILL");
  return found.length;
}

test("a long turn is shown while it runs; its answer takes the place of that message, though the edit's fate is unknown", async () => {
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
  const isAnswered = () => status.versions.at(-1)?.text.includes("slowly");
  await telegram.waitFor("the answer", isAnswered, 60_000);
  const list = async () => (await own.call("main", "delivery/list")).deliveries as object[];
  await eventually("the delivery is over", async () => (await list()).length === 0, 90_000);
  const texts = crowd.texts(ada);
  expect(texts.filter((text) => text.includes("slowly"))).toHaveLength(1);
  expect(texts.filter((text) => text.includes("⏳"))).toEqual([]);
  expect(texts.join()).not.toContain(AGAIN_MARK);
  // Longer than a status message that nobody took for an answer is left in the chat.
  await delay(12_000);
  expect(status.deletedMs).toBeUndefined();
}, 180_000);

function addFaults(): void {
  const sends = { method: ["sendMessage", "editMessageText"] };
  telegram.faults.add({ ...sends, fault: { cut: "before" }, chance: 0.02 });
  telegram.faults.add({ ...sends, fault: { cut: "after" }, chance: 0.02 });
  telegram.faults.add({ ...sends, fault: { status: 502, when: "before" }, chance: 0.02 });
  telegram.faults.add({ ...sends, fault: { status: 502, when: "after" }, chance: 0.01 });
  telegram.faults.add({ ...sends, fault: { hang: "after" }, chance: 0.001 });
  telegram.faults.add({ ...sends, fault: { retryAfter: 3 }, chance: 0.02 });
  telegram.faults.add({ method: "getUpdates", fault: { cut: "after" }, chance: 0.05 });
  telegram.faults.add({ method: "getUpdates", fault: { status: 500 }, chance: 0.05 });
  telegram.faults.add({ method: ["getMe", "sendChatAction"], fault: { status: 502 }, chance: 0.1 });
}

/** In each burst; what dies again and again is started again later and later, until it has lived for a minute. */
const BURST = [[BOT], [GATEWAY], [BOT], [BOT, GATEWAY], [BOT]];
const CALM_MS = 62_000;

/** Kills the bot, the gateway or both again and again until told to stop. */
async function killing(random: () => number, over: AbortSignal): Promise<number> {
  let killed = 0;
  const pause = (ms: number) => delay(ms, undefined, { signal: over }).catch(() => undefined);
  while (!over.aborted) {
    for (const victims of BURST) {
      await pause(2000 + random() * 6000);
      if (!over.aborted) for (const victim of victims) killed += kill(victim);
    }
    await pause(CALM_MS);
  }
  return killed;
}

test.each(Array.from({ length: PIECES }, (_, index) => index + 1))(
  "piece %i: many chats, Telegram fails at random, bot and gateway are killed: every message is answered, again only with the mark, in order",
  async (piece) => {
    const random = randomSource(seed + piece);
    const size = proofSize(100, 2500);
    const [talked, followed] = [new AbortController(), new AbortController()];
    addFaults();
    const killer = killing(random, talked.signal);
    const reader = books.follow(followed.signal);
    const startedAt = performance.now();
    // Its last part without kills: so long a bot lives that its memory says something.
    await crowd.talk(size, random, (said) => said > size * 0.7 && talked.abort());
    const kills = await killer;
    await telegram.waitFor("no update waits", () => telegram.pending().length === 0, 300_000);
    await books.settled(400_000);
    telegram.faults.clear();
    followed.abort();
    await reader;
    memory.look();
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    const { broken, twice, onlyMarked, given } = judge(crowd, books);
    const early = intoPauses(telegram);
    proved(
      `${crowd.all.length} messages so far over ${crowd.people.length} chats, ${kills} kills in this piece's ${seconds} s: ${broken.length} lost, repeated or out of order; ` +
        `${twice} came twice, ${onlyMarked} once with the mark, ${given} not at all after both tries (on record as ambiguous); ` +
        `${telegram.refused.length} requests over Telegram's limits (${[...new Set(telegram.refused.map(({ by }) => by))].join()}), ${early.length} into a pause; bot at most ${memory.mib.toFixed(0)} MiB`,
    );
    expect(broken).toEqual([]);
    expect(telegram.refused).toEqual([]);
    expect(early).toEqual([]);
    expect(memory.mib).toBeLessThanOrEqual(MOST_RSS_MIB);
  },
  3_600_000,
);
