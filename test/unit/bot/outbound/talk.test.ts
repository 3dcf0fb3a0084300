import { expect, test } from "vitest";
import { Pace } from "#bot/outbound/pace.ts";
import { Talk } from "#bot/outbound/talk.ts";
import { silentLogger } from "#lib/logger.ts";
import { ManualClock } from "#test/support/manual-clock.ts";

const PLACE = { chatId: -1, topic: undefined, messageId: 1 };
const PAUSE_MS = 900_000;

test("words for a chat that Telegram has paused hold nobody up, and are said when it takes them", async () => {
  const clock = new ManualClock();
  const sent: number[] = [];
  const api = { sendMessage: async (chatId: number) => sent.push(chatId) };
  const pace = new Pace(() => clock.now());
  const talk = new Talk({ api: api as never, pace, logger: silentLogger(), clock });
  pace.pause(PLACE.chatId, PAUSE_MS);
  let isOver = false;
  const answer = talk.answer(PLACE, "I am free.").then(() => {
    isOver = true;
  });
  await clock.advance(14_000);
  expect({ isOver, sent }).toEqual({ isOver: false, sent: [] });
  await clock.advance(2000);
  await answer;
  expect(sent).toEqual([]);
  const other = talk.answer({ ...PLACE, chatId: 2 }, "I am free.");
  await clock.advance(1000);
  await other;
  expect(sent).toEqual([2]);
  await clock.advance(PAUSE_MS);
  expect(sent).toEqual([2, -1]);
});
