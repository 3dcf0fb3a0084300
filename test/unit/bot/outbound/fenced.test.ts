import { Api } from "grammy";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Fenced, fencedBy } from "#bot/outbound/fenced.ts";
import { failureOf } from "#bot/outbound/outcome.ts";
import { type FakeTelegram, type Person, startTelegram } from "#test/fakes/telegram.ts";

let telegram: FakeTelegram;
let ada: Person;
let lost: AbortController;
let api: Api;
beforeEach(async () => {
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
  lost = new AbortController();
  const { signal } = lost;
  api = new Api(telegram.token, { apiRoot: telegram.url });
  api.config.use(fencedBy({ check: () => signal.throwIfAborted(), signal }));
});
afterEach(async () => {
  vi.useRealTimers();
  await telegram.stop();
});

test("once the Lease is lost no request leaves, and it counts as not sent", async () => {
  await api.sendMessage(ada.id, "before");
  lost.abort(new Error("another replica may lead now"));
  const error = await api.sendMessage(ada.id, "after").catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Fenced);
  expect(failureOf(error)).toEqual({ state: "notSent", reason: "another replica may lead now" });
  expect(telegram.calls.map(({ params }) => params.text)).toEqual(["before"]);
});

test("a request under way may still end; one that hangs is cut before another replica may begin, and nobody knows its fate", async () => {
  telegram.faults.add({ fault: { hang: "after" }, method: "sendMessage" });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const hanging = api.sendMessage(ada.id, "hello").catch((reason: unknown) => reason);
  vi.useRealTimers();
  await telegram.waitFor("the request", () => telegram.sent(ada).length === 1);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  lost.abort(new Error("lost"));
  await vi.advanceTimersByTimeAsync(4000);
  expect(failureOf(await hanging)).toMatchObject({ state: "unknown" });
});
