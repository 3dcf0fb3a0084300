import { Api } from "grammy";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Pace } from "#bot/outbound/pace.ts";
import { heedPauses } from "#bot/outbound/pauses.ts";
import { type FakeTelegram, startTelegram } from "#test/fakes/telegram.ts";

let telegram: FakeTelegram;
let now = 1_000_000;
let api: Api;
let pace: Pace;
beforeEach(async () => {
  telegram = await startTelegram();
  pace = new Pace(() => now);
  api = new Api(telegram.token, { apiRoot: telegram.url });
  api.config.use(heedPauses(pace));
});
afterEach(() => telegram.stop());

const calls = () =>
  telegram.calls.map(({ method, params }) => `${method} ${String(params.chat_id)}`);

test("nothing is said into a pause that anybody was told of; other chats and typing go on", async () => {
  const [ada, bob] = [telegram.people.person("Ada"), telegram.people.person("Bob")];
  telegram.faults.add({ fault: { retryAfter: 5 } });
  await expect(api.sendMessage(ada.id, "one")).rejects.toMatchObject({ error_code: 429 });
  await expect(api.editMessageText(ada.id, 1, "two")).rejects.toMatchObject({
    error_code: 429,
    parameters: { retry_after: 5 },
  });
  await api.sendMessage(bob.id, "three");
  await api.sendChatAction(ada.id, "typing");
  expect(calls()).toEqual([
    `sendMessage ${ada.id}`,
    `sendMessage ${bob.id}`,
    `sendChatAction ${ada.id}`,
  ]);
  now += 5001;
  await api.sendMessage(ada.id, "four");
  expect(telegram.sent(ada)).toHaveLength(1);
});

test("typing has places of its own, and is left out when it would come too late", () => {
  const waits = Array.from({ length: 20 }, () => pace.aside(1000));
  expect(waits.slice(0, 5)).toEqual([0, 250, 500, 750, 1000]);
  expect(waits.slice(5).every((wait) => wait === undefined)).toBe(true);
  expect(pace.reserve(1)).toBe(0);
});
