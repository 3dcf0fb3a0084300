import { expect, test } from "vitest";
import { ToldEvents, watchEvents } from "#cluster/watch-events.ts";

const line = (version: number): string =>
  `${JSON.stringify({ type: "ADDED", object: { metadata: { name: "a", resourceVersion: String(version) } } })}\n`;

async function* chunks(...lines: string[]): AsyncGenerator<Buffer> {
  for (const each of lines) yield Buffer.from(each);
}

async function read(told: ToldEvents<never>, ...lines: string[]) {
  const events = [];
  for await (const event of watchEvents(chunks(...lines), told)) events.push(event);
  return events;
}

test("what a second watch brings in the same bytes is the same event, once", async () => {
  const told = new ToldEvents<never>();
  const [first] = await read(told, line(1));
  const [second] = await read(told, line(1));
  const [third] = await read(told, line(1));
  expect(second).toBe(first);
  expect(third).toEqual(first);
  expect(third).not.toBe(first);
});

test("other bytes are another event, and only the newest are kept", async () => {
  const told = new ToldEvents<never>();
  const versions = Array.from({ length: 40 }, (_, index) => index);
  const first = await read(told, ...versions.map(line));
  const second = await read(told, ...versions.map(line).reverse());
  expect(second.toReversed()).toEqual(first);
  const same = second.toReversed().filter((event, index) => event === first[index]);
  expect(same).toHaveLength(16);
});
