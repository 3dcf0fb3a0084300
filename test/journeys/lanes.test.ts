import { afterAll, beforeAll, expect, test } from "vitest";
import { ownWords } from "#protocol/prompt-text.ts";
import { ArgusUp, argus } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import type { WsClient } from "#test/support/ws-client.ts";

interface Ended {
  id: string;
  state: string;
  turnId: string;
}

let up: ArgusUp;
beforeAll(async () => {
  up = await ArgusUp.start();
});
afterAll(async () => {
  await up?.destroy();
});

const send = (text: string, key: string) => argus(["send", text, "--key", key, "--data", up.data]);

async function done(
  client: WsClient,
  count: number,
): Promise<{ ended: Ended[]; threadId: string }> {
  return eventually(`${count} messages ended`, async () => {
    const list = (await client.request("argus/input/list")) as { ended: Ended[]; threadId: string };
    return list.ended.length >= count && list;
  });
}

/** Texts of the user's messages in the thread, in order. */
async function said(client: WsClient, threadId: string): Promise<string[]> {
  const { thread } = await client.request("thread/read", { threadId, includeTurns: true });
  const { turns } = thread as {
    turns: { items: { type: string; content?: { text: string }[] }[] }[];
  };
  return turns.flatMap(({ items }) =>
    items
      .filter(({ type }) => type === "userMessage")
      .map(({ content }) => ownWords(content?.[0]?.text ?? "")),
  );
}

test("a line typed in the terminal becomes a turn of the echo, and its end is on record", async () => {
  const { code, stdout } = await send("hello lane", "hello");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^in-[0-9a-f-]+: accepted/);
  const client = await up.connect({ session: "main" });
  const { ended, threadId } = await done(client, 1);
  expect(ended).toMatchObject([{ state: "done", turnId: expect.any(String) }]);
  await client.initialize();
  expect(await said(client, threadId)).toEqual(["hello lane"]);
  const again = await send("hello lane", "hello");
  expect(again.stdout).toContain("accepted before");
  await client.close();
});

test("gateway and pod killed between messages: every accepted one runs once, in order", async () => {
  const texts = Array.from({ length: 6 }, (_, index) => `message ${index}`);
  for (const [index, text] of texts.entries()) {
    expect((await send(text, `k${index}`)).code).toBe(0);
    const victim = index % 2 === 0 ? "argus.mjs gateway" : "argus.mjs bridge";
    for (const { pid } of up.find(victim)) process.kill(pid, "SIGKILL");
  }
  // A sender that never got its answer asks again.
  for (const [index, text] of texts.entries()) expect((await send(text, `k${index}`)).code).toBe(0);
  const client = await eventually("the gateway is back", () =>
    up.connect({ session: "main" }).catch(() => undefined),
  );
  const { ended, threadId } = await done(client, 1 + texts.length);
  expect(ended.slice(1).every(({ state }) => state === "done" || state === "interrupted")).toBe(
    true,
  );
  await client.initialize();
  const ran = (await said(client, threadId)).slice(1);
  expect(ran).toEqual(texts);
});
