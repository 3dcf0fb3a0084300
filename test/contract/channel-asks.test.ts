import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { AskAnswerResult, type AskNotice, CHANNEL_ASK } from "#protocol/channel-asks.ts";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { AdapterPeer } from "#test/support/adapter-peer.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";

const COMMAND = "item/commandExecution/requestApproval";
const ANN = { id: "ann", name: "Ann" };
let rig: GatewayRig;
let bridge: LaneBridge;
let peers: AdapterPeer[];
beforeEach(async () => {
  rig = await GatewayRig.start();
  bridge = new LaneBridge();
  peers = [];
  rig.putSession("main");
  await rig.putPod("main", bridge.onPeer);
});
afterEach(async () => {
  for (const peer of peers) peer.close();
  await rig.stop();
});

async function greet(params: object = { asks: true }): Promise<AdapterPeer> {
  const peer = await AdapterPeer.greet(rig.url, ADMIN, { adapter: "one", ...params });
  peers.push(peer);
  return peer;
}

/** A message of ann's whose turn runs. */
async function running(peer: AdapterPeer, key = "1"): Promise<string> {
  const said = { sessionId: "main", chatKey: "ann", key, text: `do ${key}` };
  const { inputId } = await peer.input(said);
  await eventually("its turn runs", () => bridge.ledger.has(inputId));
  return inputId;
}

const told = (peer: AdapterPeer, match: (ask: AskNotice) => boolean = () => true) =>
  eventually("a question is told", () =>
    peer.notices
      .filter(({ method }) => method === CHANNEL_ASK.ask)
      .map(({ params }) => params as AskNotice)
      .find(match),
  );
const isOver = ({ outcome }: AskNotice) => outcome !== "";
const shown = (peer: AdapterPeer, { askId }: AskNotice, more: object = { ref: "m1" }) =>
  peer.request(CHANNEL_ASK.shown, { askId, state: "open", ...more }, z.unknown());
const choose = (peer: AdapterPeer, { askId }: AskNotice, choice: number, more: object = {}) => {
  const facts = { askId, choice, chatKey: "ann", isGroup: false, person: ANN, ref: "m1" };
  const params = { ...facts, allow: { members: ["ann"], owners: ["olga"] }, ...more };
  return peer.request(CHANNEL_ASK.answer, params, AskAnswerResult);
};

test("what the agent asks is asked in the chat, decided once by whom it may be, and told to the agent", async () => {
  const peer = await greet();
  const input = await running(peer);
  bridge.ask(7, input, COMMAND, { command: "rm -r build\u202e", cwd: "/ws", reason: "to tidy up" });
  const ask = await told(peer);
  expect(ask).toMatchObject({ sessionId: "main", chatKey: "ann", inputId: input, outcome: "" });
  expect(ask).toMatchObject({ detail: "rm -r build\\u{202e}", reason: "to tidy up", ref: null });
  expect(ask.question).toMatch(/run this command in \/ws\?/);
  expect(ask.choices).toEqual(["Allow", "Refuse"]);
  await shown(peer, ask);
  const person = { id: "bob", name: "Bob" };
  await expect(choose(peer, ask, 0, { person })).rejects.toMatchObject({ code: "Forbidden" });
  await expect(choose(peer, ask, 0, { isGroup: true })).rejects.toMatchObject({
    code: "Forbidden",
  });
  await expect(choose(peer, ask, 0, { chatKey: "bob" })).rejects.toMatchObject({
    code: "NotFound",
  });
  expect(bridge.answers).toEqual([]);
  const both = await Promise.all([choose(peer, ask, 0), choose(peer, ask, 1)]);
  expect(both.map(({ isFirst }) => isFirst)).toEqual([true, false]);
  expect(both[1]?.outcome).toBe("✅ Allow: Ann");
  await eventually("the agent is answered", () => bridge.answers.length === 1);
  expect(bridge.answers).toEqual([{ id: 7, result: { decision: "accept" } }]);
  expect(await told(peer, isOver)).toMatchObject({ ref: "m1", outcome: "✅ Allow: Ann" });
});

test("in a group an owner decides; a choice between words is told as the agent wants it", async () => {
  const peer = await greet();
  const input = await running(peer);
  const options = [{ label: "Red" }, { label: "Blue" }];
  const questions = [{ id: "q1", header: "Colour", question: "Which one?", options }];
  bridge.ask(8, input, "item/tool/requestUserInput", { questions });
  const ask = await told(peer);
  expect(ask).toMatchObject({ question: "Colour", detail: "Which one?", choices: ["Red", "Blue"] });
  await choose(peer, ask, 1, { isGroup: true, person: { id: "olga", name: "Olga" } });
  await eventually("the agent is answered", () => bridge.answers.length === 1);
  expect(bridge.answers[0]?.result).toEqual({ answers: { q1: { answers: ["Blue"] } } });
});

const INPUT = "item/tool/requestUserInput";
const THREE = [
  {
    id: "q1",
    header: "Colour",
    question: "Which one?",
    options: [{ label: "Red", description: "warm" }, { label: "Blue" }],
  },
  { id: "q2", header: "Name", question: "How shall it be called?", options: null },
  { id: "q3", header: "Size", question: "How big?", isOther: true, options: [{ label: "Small" }] },
];
/** Ann's reply to the message that shows a question. */
const replied = (peer: AdapterPeer, key: string, text: string, more: object = {}) => {
  const reply = { ref: "m2", text, isGroup: false, person: ANN, allow: { members: ["ann"] } };
  const words = `[In reply to you:]\n${text}`;
  return peer.input({
    sessionId: "main",
    chatKey: "ann",
    key,
    text: words,
    reply: { ...reply, ...more },
  });
};

test("several questions come one after the other; a free one takes a reply, once, and the agent gets all answers", async () => {
  const peer = await greet();
  const input = await running(peer);
  bridge.ask(20, input, INPUT, { questions: THREE });
  const one = await told(peer);
  expect(one).toMatchObject({ question: "Colour (1 of 3)", choices: ["Red", "Blue"] });
  expect(one.detail).toBe("Which one?\nRed: warm");
  await shown(peer, one);
  await choose(peer, one, 0);
  const two = await told(peer, ({ question }) => question === "Name (2 of 3)");
  expect(two).toMatchObject({ choices: [], free: true, outcome: "" });
  expect(two.until).toBeLessThanOrEqual(one.until);
  await shown(peer, two, { ref: "m2" });
  const bob = { id: "bob", name: "Bob" };
  await expect(replied(peer, "r0", "mine", { person: bob })).rejects.toMatchObject({
    code: "Forbidden",
  });
  await expect(replied(peer, "r0", "mine", { isGroup: true })).rejects.toMatchObject({
    code: "Forbidden",
  });
  const answered = await Promise.all([replied(peer, "r1", "Rex"), replied(peer, "r1", "Rex")]);
  expect(answered.map(({ repeated }) => repeated)).toEqual([false, true]);
  const three = await told(peer, ({ question }) => question === "Size (3 of 3)");
  await shown(peer, three, { ref: "m3" });
  expect(
    await told(peer, ({ askId, outcome }) => askId === two.askId && outcome !== ""),
  ).toMatchObject({
    outcome: "✅ Rex: Ann",
  });
  await replied(peer, "r2", "as big as\na house", { ref: "m3" });
  await eventually("the agent is answered", () => bridge.answers.length === 1);
  expect(bridge.answers[0]?.result).toEqual({
    answers: {
      q1: { answers: ["Red"] },
      q2: { answers: ["Rex"] },
      q3: { answers: ["as big as\na house"] },
    },
  });
  bridge.end(input);
  // A repeat is still that answer, and a new reply to it is a message as any other.
  expect(await replied(peer, "r1", "Rex")).toMatchObject({ repeated: true });
  const later = await replied(peer, "r3", "on second thought");
  expect(later).toMatchObject({ repeated: false });
  expect(later.answered).toBeUndefined();
  await eventually("it runs", () => bridge.ledger.has(later.inputId));
  expect(bridge.started).toHaveLength(2);
});

test("a gateway and a bridge connection that are lost between two questions ask none twice", async () => {
  const peer = await greet();
  const input = await running(peer);
  bridge.ask(21, input, INPUT, { questions: THREE.slice(0, 2) });
  const one = await told(peer);
  await shown(peer, one);
  await rig.deletePod("main");
  bridge.cut();
  await choose(peer, one, 1);
  await rig.stopGateway();
  await rig.startGateway();
  const again = await greet();
  await rig.putPod("main", bridge.onPeer);
  const two = await told(again, ({ question }) => question === "Name (2 of 2)");
  // The channel has not told yet which message shows it.
  await replied(again, "r0", "Max", { ref: "m7", question: "Another" });
  await replied(again, "r1", "Rex", { question: two.question });
  await eventually("the agent is answered", () => bridge.answers.length === 1);
  expect(bridge.answers[0]?.result).toEqual({
    answers: { q1: { answers: ["Blue"] }, q2: { answers: ["Rex"] } },
  });
  const first = again.notices.filter(
    ({ method, params }) =>
      method === CHANNEL_ASK.ask &&
      (params as AskNotice).askId === one.askId &&
      !isOver(params as AskNotice),
  );
  expect(first).toEqual([]);
});

test("a secret is not asked in a chat, and neither are more questions than a person reads", async () => {
  const peer = await greet();
  const input = await running(peer);
  const secret = [{ id: "q1", header: "Key", question: "Which?", isSecret: true, options: null }];
  bridge.ask(22, input, INPUT, { questions: secret });
  bridge.ask(23, input, INPUT, { questions: [] });
  const many = Array.from({ length: 5 }, (_, id) => ({ id: `q${id}`, question: "?" }));
  bridge.ask(24, input, INPUT, { questions: many });
  await eventually("all are withdrawn", () => bridge.answers.length === 3);
  expect(bridge.answers.map(({ error }) => error?.code)).toEqual([-32601, -32601, -32601]);
});

test("a gateway that restarts shows an open question no second time, takes its answer, and withdraws one that ended meanwhile", async () => {
  const peer = await greet();
  const input = await running(peer);
  bridge.ask(1, input, COMMAND, { command: "one" });
  bridge.ask(2, input, COMMAND, { command: "two" });
  const one = await told(peer, ({ detail }) => detail === "one");
  const two = await told(peer, ({ detail }) => detail === "two");
  await shown(peer, one, { ref: "m1" });
  await shown(peer, two, { ref: "m2" });
  await rig.stopGateway();
  bridge.resolve(2);
  await rig.startGateway();
  const again = await greet();
  const over = await told(again, ({ askId }) => askId === two.askId);
  expect(over).toMatchObject({ ref: "m2", outcome: expect.stringMatching(/elsewhere/) });
  await choose(again, one, 1);
  await eventually("the agent is answered", () => bridge.answers.length === 1);
  expect(bridge.answers).toEqual([{ id: 1, result: { decision: "decline" } }]);
  const shownAgain = again.notices.filter(
    ({ method, params }) =>
      method === CHANNEL_ASK.ask &&
      (params as AskNotice).askId === one.askId &&
      !isOver(params as AskNotice),
  );
  expect(shownAgain).toEqual([]);
});

test("an answer that is on the disk reaches the agent although its connection was lost", async () => {
  const peer = await greet();
  const input = await running(peer);
  bridge.ask(3, input, COMMAND, { command: "three" });
  const ask = await told(peer);
  await rig.deletePod("main");
  bridge.cut();
  await choose(peer, ask, 0);
  expect(bridge.answers).toEqual([]);
  await rig.putPod("main", bridge.onPeer);
  await eventually("the agent is answered", () => bridge.answers.length === 1);
  expect(bridge.answers).toEqual([{ id: 3, result: { decision: "accept" } }]);
});

test("the end of its turn ends a question, and a late answer is told so", async () => {
  const peer = await greet();
  const input = await running(peer);
  bridge.ask(4, input, COMMAND, { command: "four" });
  const ask = await told(peer);
  await shown(peer, ask);
  bridge.end(input, "interrupted");
  const over = await told(peer, isOver);
  expect(over.outcome).toMatch(/turn ended/);
  expect(await choose(peer, ask, 0)).toEqual({ isFirst: false, outcome: over.outcome });
  await shown(peer, ask, { state: "over" });
  await expect(choose(peer, ask, 0)).rejects.toMatchObject({ code: "NotFound" });
  expect(await shown(peer, ask, { ref: "m9" })).toEqual({ isKnown: false });
});

test("a channel that shows no questions, or cannot reach the chat, leaves them to others", async () => {
  const peer = await greet({});
  const input = await running(peer);
  bridge.ask(5, input, COMMAND, { command: "five" });
  await eventually("withdrawn", () => bridge.answers.length === 1);
  expect(bridge.answers[0]).toMatchObject({ id: 5, error: { code: -32601 } });
  const able = await greet({ adapter: "two", asks: true });
  bridge.ask(6, input, COMMAND, { command: "six" });
  const ask = await told(able);
  await shown(able, ask, { failed: "the person has blocked the bot" });
  await eventually("withdrawn", () => bridge.answers.length === 2);
  expect(bridge.answers[1]).toMatchObject({ id: 6, error: { code: -32601 } });
  // Nobody's turn but the lane's own.
  bridge.ask(9, "nobody", COMMAND, { command: "nine", turnId: "another" });
  await eventually("withdrawn", () => bridge.answers.length === 3);
});

test("a question that was told to a process that died is marked for its successor", async () => {
  const peer = await greet();
  const input = await running(peer);
  bridge.ask(10, input, COMMAND, { command: "ten" });
  expect(await told(peer)).toMatchObject({ again: false });
  const next = await greet();
  expect(await told(next)).toMatchObject({ again: true });
});
