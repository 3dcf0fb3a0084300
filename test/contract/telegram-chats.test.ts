import { afterEach, beforeEach, expect, test } from "vitest";
import { BotRig, textOf } from "#test/support/bot-rig.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN } from "#test/support/gateway.ts";
import { WsClient } from "#test/support/ws-client.ts";

let rig: BotRig;
beforeEach(async () => {
  rig = await BotRig.start();
});
afterEach(async () => {
  await rig.stop();
});

const groupSession = (id: number, topic?: number) =>
  `telegram-g${-id}${topic === undefined ? "" : `-${topic}`}`;
const isQuiet = () =>
  eventually("all updates are taken", () => rig.telegram.pending().length === 0);

async function deliveries(session: string) {
  const client = await WsClient.connect({ url: rig.gateway.url, token: ADMIN, query: { session } });
  const list = await client.request("argus/delivery/list");
  await client.close();
  return list as unknown as {
    deliveries: { target: { chatKey: string }; reason: string }[];
    ended: { state: string; reason: string; target: { chatKey: string } }[];
  };
}

test("in a group only an owner's consent opens it, and only who names the bot or answers it is heard", async () => {
  const { people } = rig.telegram;
  const bob = people.person("Bob");
  const group = people.group("Team", { members: [rig.ada, bob] });
  const bridge = await rig.addSession(groupSession(group.id));
  people.say(group, "@argus_test_bot hello?", { from: bob });
  await isQuiet();
  expect(rig.texts(group)).toEqual([]);
  people.say(group, "@argus_test_bot hello?", { from: rig.ada });
  await rig.heard(group, /An owner can let me in/);
  people.say(group, "/start@argus_test_bot", { from: bob });
  people.say(group, "/start@argus_test_bot", { from: rig.ada });
  await rig.heard(group, /I am here/);
  people.say(group, "nothing for the bot", { from: bob });
  people.say(group, "@argus_test_bot what now?", { from: bob });
  const answer = await rig.heard(group, /did Bob: what now\?/);
  people.say(group, "and then?", { from: bob, replyTo: answer });
  await rig.heard(group, /and then\?/);
  expect(bridge.started.map(({ text }) => text.split("\n").at(-1))).toEqual([
    "Bob: what now?",
    "Bob: and then?",
  ]);
  expect(rig.bridges.get("main")?.started).toEqual([]);
}, 60_000);

test("each topic of a forum has a session of its own, and its answers come there", async () => {
  const { people } = rig.telegram;
  const forum = people.group("Forum", { members: [rig.ada], forum: true });
  const topics = [people.topic(forum, "plans"), people.topic(forum, "bugs")];
  for (const topic of topics) await rig.addSession(groupSession(forum.id, topic));
  people.say(forum, "/start@argus_test_bot", { from: rig.ada, topic: topics[0] ?? 0 });
  await rig.heard(forum, /I am here/);
  for (const topic of topics) {
    people.say(forum, `@argus_test_bot in ${topic}`, { from: rig.ada, topic });
    const answer = await rig.heard(forum, new RegExp(`did .*in ${topic}$`));
    expect(answer.threadId).toBe(topic);
    expect(rig.bridges.get(groupSession(forum.id, topic))?.started).toHaveLength(1);
  }
}, 60_000);

test("an answer to a person who has blocked the bot is given up with the reason, and the next chat's comes", async () => {
  const { people } = rig.telegram;
  const bob = people.person("Bob");
  people.say(rig.ada, "wait for it");
  const bridge = rig.bridges.get("main");
  const started = await eventually("its turn", () => bridge?.started[0]);
  people.block(rig.ada);
  bridge?.end(started.id);
  await eventually("it is given up", async () => {
    const { ended } = await deliveries("main");
    return ended.find(({ state, reason }) => state === "dead" && /blocked/.test(reason));
  });
  people.say(bob, "hello");
  await rig.heard(bob, /code/);
  people.unblock(rig.ada);
  people.say(rig.ada, "back again");
  await rig.heard(rig.ada, /did back again/);
}, 60_000);

test("a deleted group's answer is given up with the reason", async () => {
  const { people } = rig.telegram;
  const group = people.group("Gone", { members: [rig.ada] });
  const bridge = await rig.addSession(groupSession(group.id));
  people.say(group, "/start@argus_test_bot", { from: rig.ada });
  await rig.heard(group, /I am here/);
  people.say(group, "@argus_test_bot wait", { from: rig.ada });
  const started = await eventually("its turn", () => bridge.started[0]);
  people.deleteGroup(group);
  bridge.end(started.id);
  await eventually("it is given up", async () => {
    const { ended } = await deliveries(groupSession(group.id));
    return ended.find(({ state, reason }) => state === "dead" && /gone/.test(reason));
  });
}, 60_000);

test("a group that moves takes its binding and what was not sent yet along", async () => {
  const { people, faults } = rig.telegram;
  const group = people.group("Old", { members: [rig.ada], type: "group" });
  const session = groupSession(group.id);
  const bridge = await rig.addSession(session);
  people.say(group, "/start@argus_test_bot", { from: rig.ada });
  await rig.heard(group, /I am here/);
  people.say(group, "@argus_test_bot wait one", { from: rig.ada });
  people.say(group, "@argus_test_bot second", { from: rig.ada });
  const started = await eventually("its turn", () => bridge.started[0]);
  const late = faults.add({ fault: { status: 502 }, method: "getUpdates", times: 2 });
  const moved = people.migrate(group);
  bridge.end(started.id);
  await rig.heard(moved, /did .*second/);
  expect(late.hits).toBeLessThan(3);
  expect(rig.texts(moved)).toHaveLength(2);
  await isQuiet();
  people.say(moved, "@argus_test_bot third", { from: rig.ada });
  await rig.heard(moved, /did .*third/);
  expect(bridge.started).toHaveLength(3);
  const isSent = async () => (await deliveries(session)).deliveries.length === 0;
  await eventually("nothing waits", isSent);
}, 60_000);

test("the retry button asks for admission again: in a chat that lost its binding it starts nothing in the owners' session", async () => {
  const { people } = rig.telegram;
  const bob = people.person("Bob");
  const session = `telegram-${bob.id}`;
  const bridge = await rig.addSession(session);
  people.say(bob, "hi");
  const [code] = /[A-Z2-9]{8}/.exec(textOf(await rig.heard(bob, /code/))) ?? [];
  people.say(rig.ada, `/approve ${code}`);
  await rig.heard(rig.ada, /Bob may write/);
  people.say(bob, "fail please");
  const failed = await rig.heard(bob, /no credit/);
  const chat = `telegram:${bob.id}`;
  const client = await WsClient.connect({
    url: rig.gateway.url,
    token: ADMIN,
    query: { session: "main" },
  });
  await client.request("argus/chat/unbind", { chat });
  await rig.telegram.people.press(failed, "Try again", bob);
  await eventually("it is tried again", () => bridge.started.length === 2);
  const { chats } = await client.request("argus/chat/list", { session });
  expect(chats).toEqual([chat]);
  expect(rig.bridges.get("main")?.started).toEqual([]);
  await client.request("argus/person/remove", { id: chat });
  const again = await rig.heard(bob, /no credit/, failed.id);
  const words = await rig.telegram.people.press(again, "Try again", bob);
  expect(words).toMatchObject({ text: expect.stringMatching(/may not/) });
  expect(bridge.started).toHaveLength(2);
  await client.close();
}, 60_000);

test("a second poller is told of, not fought over: the bot says so, waits longer and longer, and goes on when it is gone", async () => {
  const { telegram } = rig;
  await eventually("the poll", () => telegram.polled());
  const conflict = telegram.faults.add({
    fault: { status: 409, description: "Conflict: terminated by other getUpdates request" },
    method: "getUpdates",
    times: 4,
  });
  telegram.people.say(rig.ada, "first");
  await rig.heard(rig.ada, /did first/);
  const calls = () => telegram.calls.filter(({ method }) => method === "getUpdates").length;
  await eventually("refused for the last time", () => conflict.hits === 4, 60_000);
  const before = calls();
  telegram.people.say(rig.ada, "second");
  await rig.heard(rig.ada, /did second/);
  expect(calls() - before).toBeLessThan(8);
}, 60_000);

test("Telegram may be away or broken for a while: what was written meanwhile is answered, once", async () => {
  const { telegram } = rig;
  telegram.faults.add({ fault: { status: 503 }, method: "getUpdates", times: 2 });
  telegram.people.say(rig.ada, "one");
  await rig.heard(rig.ada, /^did one/);
  await telegram.goDown();
  telegram.people.say(rig.ada, "two");
  await telegram.comeBack();
  await rig.heard(rig.ada, /^did two/);
  // Whether a broken server has shown it nobody knows: it comes once more, marked.
  telegram.faults.add({ fault: { status: 500, when: "after" }, method: "sendMessage" });
  telegram.people.say(rig.ada, "three");
  await rig.heard(rig.ada, /^↻ did three/);
  const answers = rig.texts(rig.ada).filter((text) => text.includes("did"));
  expect(answers).toEqual(["did one", "did two", "did three", "↻ did three"]);
}, 90_000);
