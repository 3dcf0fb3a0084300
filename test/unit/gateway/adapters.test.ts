import { expect, test } from "vitest";
import { AdapterConnection } from "#gateway/channels/adapter-connection.ts";
import { Channels } from "#gateway/channels/channels.ts";
import type { ClientSocket } from "#gateway/client-socket.ts";
import type { GatewayContext } from "#gateway/context.ts";
import { epochOf, greet } from "#gateway/state/adapters.ts";
import { addDelivery, deliveriesHealth } from "#gateway/state/deliveries.ts";
import { claim, sendingPart } from "#gateway/state/outbox.ts";
import { silentLogger } from "#lib/logger.ts";
import { type Adapters, MAX_ADAPTERS, NO_ADAPTERS } from "#protocol/document.ts";
import { emptyDocument } from "#protocol/session-document.ts";

test("each new process of an adapter has a higher epoch; only the newest may come back with its own", () => {
  const first = greet(NO_ADAPTERS, { name: "bot" });
  const second = greet(first.document, { name: "bot" });
  expect(second.answer).toBeGreaterThan(first.answer);
  const back = greet(second.document, { name: "bot", epoch: second.answer });
  expect(back).toEqual({ document: second.document, answer: second.answer });
  expect(back.document).toBe(second.document);
  for (const epoch of [first.answer, second.answer + 1])
    expect(() => greet(second.document, { name: "bot", epoch })).toThrow("Superseded");
  expect(epochOf(second.document, "bot")).toBe(second.answer);
  expect(epochOf(second.document, "other")).toBe(0);
});

test("an adapter that was forgotten at the bound never gets an epoch again that it had", () => {
  let adapters: Adapters = greet(NO_ADAPTERS, { name: "first" }).document;
  for (let index = 0; index < MAX_ADAPTERS; index += 1)
    adapters = greet(adapters, { name: `other-${index}` }).document;
  expect(adapters.known).toHaveLength(MAX_ADAPTERS);
  expect(() => greet(adapters, { name: "first", epoch: 1 })).toThrow("Superseded");
  expect(greet(adapters, { name: "first" }).answer).toBeGreaterThan(MAX_ADAPTERS);
});

test("health tells the oldest open delivery and why it waits", () => {
  const limit = 2 ** 21;
  const facts = { inputId: null, threadId: null, turnId: null, canRetry: false, limit };
  const target = { channel: "hook", chatKey: "a" };
  const more = { id: "a", target, kind: "message", text: "t", now: 5 } as const;
  const { document } = addDelivery(emptyDocument("s"), { ...facts, ...more });
  expect(deliveriesHealth(emptyDocument("s"), 9)).toEqual({
    open: 0,
    oldestSince: null,
    reason: "",
  });
  expect(deliveriesHealth(document, 9)).toEqual({
    open: 1,
    oldestSince: 5,
    reason: "no adapter of channel hook has taken it yet",
  });
  const by = { adapter: "one", epoch: 1 };
  const asked = { id: "a", by, channel: "hook", leaseMs: 10, now: 9, limit };
  const held = claim(document, asked).document;
  expect(deliveriesHealth(held, 9)).toMatchObject({ oldestSince: 5, reason: "" });
  const part = { id: "a", by, part: 0, parts: 1, mode: "send", leaseMs: 10, now: 9 } as const;
  const lost = claim(sendingPart(held, part).document, { ...asked, now: 20 }).document;
  expect(deliveriesHealth(lost, 20).reason).toMatch(/nobody knows whether it arrived.*sent once/);
});

test("an adapter that takes nothing is cut off, one that is only behind is not", () => {
  const state = { current: { adapters: NO_ADAPTERS } };
  const lanes = { watch: () => undefined, watchDocuments: () => undefined };
  const options = { state, lanes, files: {}, logger: silentLogger() };
  const channels = new Channels(options as unknown as ConstructorParameters<typeof Channels>[0]);
  const connection = new AdapterConnection({ channels } as GatewayContext);
  let isDestroyed = false;
  const client = { send: () => false, destroy: () => (isDestroyed = true), close: () => undefined };
  connection.bind(client as unknown as ClientSocket);
  connection.greeted({ channel: "hook", asks: false }, { adapter: "one", epoch: 1 });
  connection.notify("channel/ended", {});
  connection.tick(performance.now() + 5000);
  connection.drained();
  connection.tick(performance.now() + 60_000);
  expect(isDestroyed).toBe(false);
  connection.notify("channel/ended", {});
  connection.tick(performance.now() + 60_000);
  expect(isDestroyed).toBe(true);
});
