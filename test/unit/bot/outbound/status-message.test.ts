import { Api } from "grammy";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Pace } from "#bot/outbound/pace.ts";
import { TelegramSender } from "#bot/outbound/sender.ts";
import { Progress } from "#bot/progress.ts";
import { Replies } from "#bot/replies.ts";
import { statusWords } from "#bot/words.ts";
import type { Part } from "#channel/sender.ts";
import { runningWords } from "#gateway/lanes/silence.ts";
import { silentLogger } from "#lib/logger.ts";
import type { Delivery } from "#protocol/delivery.ts";
import { type FakeTelegram, type Person, startTelegram } from "#test/fakes/telegram.ts";
import { ManualClock } from "#test/support/manual-clock.ts";

let telegram: FakeTelegram;
let ada: Person;
const stop = new AbortController();
beforeEach(async () => {
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
});
afterEach(() => telegram.stop());

test("a change of the status message that is slow on its way does not take the answer's place", async () => {
  const clock = new ManualClock();
  const api = new Api(telegram.token, { apiRoot: telegram.url });
  const slow = Promise.withResolvers<void>();
  api.config.use(async (call, method, payload, signal) => {
    if (JSON.stringify(payload).includes("second")) await slow.promise;
    return await call(method, payload, signal);
  });
  const pace = new Pace(() => clock.now());
  const shown = async () => true;
  const replies = new Replies();
  const logger = silentLogger();
  const progress = new Progress({ api, pace, replies, logger, clock, shown }, stop.signal);
  const tell = (words: string) =>
    progress.progress({ sessionId: "s", chatKey: String(ada.id), inputId: "in-1", words });
  tell("first");
  await clock.advance(3001);
  tell("first");
  await clock.advance(1);
  const status = await telegram.waitFor("the status message", () => telegram.sent(ada)[0]);
  await clock.advance(5000);
  tell("second");
  await clock.advance(1);
  const sender = new TelegramSender({
    api,
    pace,
    replies,
    files: { turn: async () => {}, send: async () => ({ state: "sent", ref: "0" }) },
    onBegun: (inputId) => progress.answered(inputId),
    onSent: () => {},
    onMoved: async () => {},
  });
  const delivery = { id: "out-1", inputId: "in-1", text: "the answer", editRef: String(status.id) };
  const target = { channel: "telegram", chatKey: String(ada.id) };
  const part: Part = {
    delivery: { ...delivery, target } as unknown as Delivery,
    sessionId: "s",
    number: 0,
    parts: 1,
    text: "the answer",
    key: "out-1.0",
  };
  let isTurn = false;
  const turn = sender.turn(part, stop.signal).then(() => {
    isTurn = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(isTurn).toBe(false);
  slow.resolve();
  await turn;
  await sender.send(part, { mode: "edit", mark: "", signal: stop.signal });
  expect(status.versions.map(({ text }) => text)).toEqual(["⏳ first", "⏳ second", "the answer"]);
  tell("third");
  await clock.advance(10_000);
  expect(status.versions.at(-1)?.text).toBe("the answer");
});

test("a question comes below the status message, also while that is on its way; the next one comes below the question", async () => {
  await telegram.stop();
  // The clock of this test runs ahead of Telegram's.
  telegram = await startTelegram({ rates: { chatBurst: 20 } });
  ada = telegram.people.person("Ada");
  const clock = new ManualClock();
  const api = new Api(telegram.token, { apiRoot: telegram.url });
  const pace = new Pace(() => clock.now());
  const logger = silentLogger();
  const written = Promise.withResolvers<boolean>();
  let isFirst = true;
  const shown = () => {
    const answer = isFirst ? written.promise : Promise.resolve(true);
    isFirst = false;
    return answer;
  };
  const replies = new Replies();
  const progress = new Progress({ api, pace, replies, logger, clock, shown }, stop.signal);
  const tell = (words: string) =>
    progress.progress({ sessionId: "s", chatKey: String(ada.id), inputId: "in-1", words });
  const statusOf = (words: string) =>
    telegram.waitFor(words, () =>
      telegram.sent(ada).find(({ versions }) => versions.at(-1)?.text === `⏳ ${words}`),
    );
  const asked = async () => {
    const { message_id: id } = await api.sendMessage(ada.id, "may I?");
    progress.asked("in-1", ada.id, id);
    return id;
  };
  tell("first");
  await clock.advance(3001);
  tell("first");
  await clock.advance(1);
  const first = await statusOf("first");
  await asked();
  written.resolve(true);
  await telegram.waitFor("it goes", () => first.deletedMs !== undefined);
  for (const words of ["second", "third"]) {
    await clock.advance(5000);
    tell(words);
    await clock.advance(2000);
    const status = await statusOf(words);
    // Written down by now.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const question = await asked();
    expect(status.id).toBeLessThan(question);
    await telegram.waitFor("it goes", () => status.deletedMs !== undefined);
  }
});

test("the chat says in its own words what a turn does", () => {
  const record = { commands: new Map(), waitsForApproval: false, trouble: "" };
  const said = (change: object, stopping?: { reason: string; since: number }) =>
    statusWords(runningWords({ ...record, ...change } as never, stopping), 60);
  expect(said({})).toBe("I am at work.");
  expect(said({ trouble: "the model (gone)" })).toBe("I wait for the model (gone).");
  expect(said({ waitsForApproval: true })).toBe("I wait for an approval.");
  expect(said({}, { reason: "you asked for it.", since: 0 })).toBe("I am stopping.");
  expect(said({ commands: new Map([["1", "bash -lc 'make test'"]]) })).toBe(
    "I am running `make test`.",
  );
  const long = said({ commands: new Map([["1", "x".repeat(100)]]) });
  expect(long).toMatch(/^I am running `x+…`$/);
  expect(long.length).toBeLessThanOrEqual(60);
});
