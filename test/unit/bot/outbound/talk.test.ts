import { GrammyError } from "grammy";
import { expect, test } from "vitest";
import { Pace } from "#bot/outbound/pace.ts";
import { Talk } from "#bot/outbound/talk.ts";
import { silentLogger } from "#lib/logger.ts";

const PLACE = { chatId: -1, topic: undefined, messageId: 1 };
const PAUSE_SECONDS = 900;

function talkOver(sendMessage: () => Promise<unknown>) {
  const unsaid: unknown[] = [];
  const logger = { ...silentLogger(), warn: (facts: unknown) => unsaid.push(facts) };
  const pace = new Pace();
  const talk = new Talk({ api: { sendMessage } as never, pace, logger: logger as never });
  return { talk, pace, unsaid };
}

test("words for a chat that Telegram has paused for long are left out: whoever waits for them is not held up", async () => {
  let sent = 0;
  const { talk, pace, unsaid } = talkOver(async () => (sent += 1));
  pace.pause(PLACE.chatId, PAUSE_SECONDS * 1000);
  await talk.answer(PLACE, "I am free.");
  expect(sent).toBe(0);
  expect(unsaid).toMatchObject([{ chat: -1 }]);
  await talk.answer({ ...PLACE, chatId: 2 }, "I am free.");
  expect(sent).toBe(1);
});

test("a long pause that Telegram asks for ends the tries", async () => {
  let tries = 0;
  const { talk, unsaid } = talkOver(async () => {
    tries += 1;
    const answer = {
      ok: false as const,
      error_code: 429,
      description: "Too Many Requests",
      parameters: { retry_after: PAUSE_SECONDS },
    };
    throw new GrammyError("no", answer, "sendMessage", {});
  });
  await talk.answer(PLACE, "I am free.");
  expect(tries).toBe(1);
  expect(unsaid).toMatchObject([{ error: expect.stringContaining("Too Many Requests") }]);
});
