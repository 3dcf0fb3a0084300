import { expect, test } from "vitest";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";
import { eventually } from "#test/support/eventually.ts";

const start = bridgeSuite();

const threadOf = (result: Record<string, unknown>) => (result.thread as { id: string }).id;
const newThread = async (peer: BridgePeer) => threadOf(await peer.request("thread/start", {}));
const turn = (threadId: string, text: string, clientUserMessageId?: string) => ({
  threadId,
  input: [{ type: "text", text }],
  ...(clientUserMessageId ? { clientUserMessageId } : {}),
});

test("approvals go to the turn's owner under a number of ours; it leaves: asked elsewhere; one answer wins", async () => {
  const bridge = await start();
  const [owner, other] = [await bridge.join(), await bridge.join()];
  const threadId = await newThread(owner);
  await owner.request("turn/start", turn(threadId, "ask"));
  const asked = await owner.waitFor(
    "the question",
    ({ id, method }) => method !== undefined && id !== undefined,
  );
  expect(typeof asked.id).toBe("number");
  expect(asked.id).not.toBe(0);
  await other.settled();
  expect(other.lines.some(({ id, method }) => method !== undefined && id !== undefined)).toBe(
    false,
  );
  await owner.request("thread/resume", { threadId });
  await owner.settled();
  expect(owner.lines.filter(({ id }) => id === asked.id)).toHaveLength(1);
  owner.close();
  const again = await other.waitFor("the question again", ({ id }) => id === asked.id);
  expect(again).toEqual(asked);
  const late = await bridge.join();
  await late.waitFor("the open question", ({ id }) => id === asked.id);
  other.send({ id: asked.id, result: { decision: "accept" } });
  late.send({ id: asked.id, result: { decision: "decline" } });
  const resolved = await late.notification("serverRequest/resolved");
  expect(resolved.params).toEqual({ threadId, requestId: asked.id });
  const answered = await late.notification("test/answered");
  expect(answered.params).toEqual({ id: 0, result: { decision: "accept" } });
  await late.request("test/echo", {});
  expect(bridge.received().filter(({ method }) => method === undefined)).toHaveLength(1);
});

test("open questions of a process that died are resolved, and numbers are not used again", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  await peer.request("turn/start", turn(threadId, "ask"));
  const isQuestion = ({ id, method }: { id?: unknown; method?: string }) =>
    method !== undefined && id !== undefined;
  const first = await peer.waitFor("the question", isQuestion);
  process.kill(bridge.appServerPid(), "SIGKILL");
  const resolved = await peer.notification("serverRequest/resolved");
  expect(resolved.params).toMatchObject({ requestId: first.id });
  await peer.notification("argus/restarted");
  await peer.request("turn/start", turn(threadId, "ask"));
  const second = await peer.waitFor(
    "the second question",
    (line) => isQuestion(line) && line.id !== first.id,
  );
  peer.send({ id: first.id, result: { decision: "accept" } });
  peer.send({ id: second.id, result: { decision: "decline" } });
  expect((await peer.notification("test/answered")).params?.result).toEqual({
    decision: "decline",
  });
});

test("a question that nobody answers in time is declined; of another kind it gets an error", async () => {
  const bridge = await start({ tuning: { askDeadlineMs: 300 } });
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  await peer.request("turn/start", { threadId, input: [{ type: "text", text: "ask" }] });
  expect((await peer.notification("test/answered")).params?.result).toEqual({
    decision: "decline",
  });
  const other = Buffer.from('{"id":"x","method":"item/tool/call","params":{}}\n').toString(
    "base64",
  );
  await peer.request("test/emit", { lines: [other] });
  const answer = await eventually("an error", () => bridge.received().find(({ id }) => id === "x"));
  expect(answer).toMatchObject({ error: { code: -32000 } });
});
