import { afterEach, beforeEach, expect, test } from "vitest";
import type { LaneBridge } from "#test/fakes/lane-bridge.ts";
import type { Group, Person, Stored } from "#test/fakes/telegram.ts";
import { BotRig, textOf } from "#test/support/bot-rig.ts";
import { eventually } from "#test/support/eventually.ts";

const COMMAND = "item/commandExecution/requestApproval";
let rig: BotRig;
let nextAsk = 1;
beforeEach(async () => {
  rig = await BotRig.start();
});
afterEach(async () => {
  await rig.stop();
});

const main = () => rig.bridges.get("main") as LaneBridge;
/** A message whose turn runs and asks for this command. */
async function asks(bridge: LaneBridge, where: Person | Group, command: string): Promise<void> {
  const before = bridge.started.length;
  const text = where === rig.ada ? "wait" : "@argus_test_bot wait";
  rig.telegram.people.say(where, text, { from: rig.ada });
  const { id } = await eventually("its turn", () => bridge.started[before]);
  bridge.ask(nextAsk++, id, COMMAND, { command });
}
const press = async (message: Stored, button: string, by: Person) => {
  const { text } = await rig.telegram.people.press(message, button, by);
  return String(text);
};
const isSettled = (message: Stored, words: string) =>
  rig.telegram.waitFor(`${words} is said`, () => textOf(message).endsWith(words), 60_000);

test("a question whose fate is unknown comes once more, marked; each of both takes an answer, and the first counts", async () => {
  rig.telegram.faults.add({ fault: { cut: "after" }, method: "sendMessage" });
  await asks(main(), rig.ada, "touch twice");
  const first = await rig.heard(rig.ada, /^❓.*\ntouch twice/);
  const again = await rig.heard(rig.ada, /^↻ ❓.*\ntouch twice/);
  expect(await press(first, "Allow", rig.ada)).toBe("✅ Allow: Ada");
  await eventually("the agent is answered", () => main().answers.length === 1);
  await isSettled(first, "✅ Allow: Ada");
  expect(await press(again, "Refuse", rig.ada)).toBe("It was decided before. ✅ Allow: Ada");
  await isSettled(again, "✅ Allow: Ada");
  expect(main().answers).toEqual([{ id: nextAsk - 1, result: { decision: "accept" } }]);
  expect(rig.telegram.everSent.filter((each) => /touch twice/.test(textOf(each)))).toHaveLength(2);
}, 90_000);

test("a pause that Telegram asks for delays a question and its outcome, and doubles neither", async () => {
  const { faults } = rig.telegram;
  faults.add({ fault: { retryAfter: 2 }, method: "sendMessage" });
  faults.add({ fault: { retryAfter: 2 }, method: "editMessageText" });
  faults.add({ fault: { cut: "after" }, method: "editMessageText", skip: 1 });
  await asks(main(), rig.ada, "touch late");
  const question = await rig.heard(rig.ada, /touch late/);
  expect(await press(question, "Refuse", rig.ada)).toBe("🚫 Refuse: Ada");
  await isSettled(question, "🚫 Refuse: Ada");
  expect(rig.telegram.everSent.filter((each) => /touch late/.test(textOf(each)))).toHaveLength(1);
}, 90_000);

test("in a group only an owner decides; who else presses is told so", async () => {
  const { bob, group, bridge } = await openGroup();
  await asks(bridge, group, "touch group");
  const question = await rig.heard(group, /touch group/);
  expect(await press(question, "Allow", bob)).toBe("Only an owner may decide this.");
  expect(bridge.answers).toEqual([]);
  expect(await press(question, "Allow", rig.ada)).toBe("✅ Allow: Ada");
  await eventually("the agent is answered", () => bridge.answers.length === 1);
}, 60_000);

test("a person who has blocked the bot is not waited for: the question goes to others", async () => {
  const bridge = main();
  rig.telegram.people.say(rig.ada, "wait");
  const { id } = await eventually("its turn", () => bridge.started[0]);
  rig.telegram.people.block(rig.ada);
  bridge.ask(nextAsk++, id, COMMAND, { command: "touch nobody" });
  await eventually("it is withdrawn", () => bridge.answers.length === 1);
  expect(bridge.answers[0]).toMatchObject({ error: { code: -32601 } });
}, 60_000);

test("several questions are asked one after the other: a button answers, or a reply in words, and nobody else's", async () => {
  const { people } = rig.telegram;
  people.say(rig.ada, "wait");
  const { id } = await eventually("its turn", () => main().started[0]);
  const questions = [
    {
      id: "q1",
      header: "Colour",
      question: "Which one?",
      options: [{ label: "Red" }, { label: "Blue" }],
    },
    { id: "q2", header: "Name", question: "How shall it be called?", options: null },
    {
      id: "q3",
      header: "Size",
      question: "How big?",
      isOther: true,
      options: [{ label: "Small" }],
    },
  ];
  main().ask(nextAsk++, id, "item/tool/requestUserInput", { questions });
  const one = await rig.heard(rig.ada, /Colour \(1 of 3\)/);
  expect(textOf(one)).toMatch(/After 29 min I go on without an answer\.$/);
  expect(await press(one, "Blue", rig.ada)).toBe("✅ Blue: Ada");
  const two = await rig.heard(rig.ada, /Name \(2 of 3\)/);
  expect(textOf(two)).toMatch(/Reply to this message\. After \d\d min/);
  expect(two.versions.at(-1)?.replyMarkup).toBeUndefined();
  // The answer's confirmation is lost: Telegram brings the reply again.
  rig.telegram.faults.add({ fault: { cut: "before" }, method: "getUpdates" });
  people.say(rig.ada, "Rex", { replyTo: two });
  const three = await rig.heard(rig.ada, /Size \(3 of 3\)/);
  expect(textOf(three)).toMatch(/Press, or reply to this message in your own words\./);
  await isSettled(two, "✅ Rex: Ada");
  people.say(rig.ada, "as a house", { replyTo: three });
  await eventually("the agent is answered", () => main().answers.length === 1);
  expect(main().answers[0]?.result).toEqual({
    answers: {
      q1: { answers: ["Blue"] },
      q2: { answers: ["Rex"] },
      q3: { answers: ["as a house"] },
    },
  });
  await isSettled(three, "✅ as a house: Ada");
  expect(main().started).toHaveLength(1);
  main().end(id);
  people.say(rig.ada, "too late", { replyTo: three });
  await rig.heard(rig.ada, /did .*too late/s);
}, 90_000);

test("in a group only an owner's reply answers; another's is refused and starts nothing", async () => {
  const { people, bob, group, bridge } = await openGroup();
  people.say(group, "@argus_test_bot wait", { from: bob });
  const { id } = await eventually("its turn", () => bridge.started[0]);
  const questions = [{ id: "q", header: "Name", question: "Which?", options: null }];
  bridge.ask(nextAsk++, id, "item/tool/requestUserInput", { questions });
  const question = await rig.heard(group, /❓ Name/);
  people.say(group, "Bobby", { from: bob, replyTo: question });
  await rig.heard(group, /Only an owner may decide this/);
  people.say(group, "Rex", { from: rig.ada, replyTo: question });
  await eventually("the agent is answered", () => bridge.answers.length === 1);
  expect(bridge.answers[0]?.result).toEqual({ answers: { q: { answers: ["Rex"] } } });
  expect(bridge.started).toHaveLength(1);
}, 60_000);

test("every character of a command is seen: markup, hidden and turned ones, and how much is cut off", async () => {
  const command = `echo "<b>&amp;</b>" \u202e\u200b\u0007 # ${"x".repeat(9000)}`;
  await asks(main(), rig.ada, command);
  const question = textOf(await rig.heard(rig.ada, /^❓/));
  expect(question).toContain(`echo "<b>&amp;</b>" \\u{202e}\\u{200b}\\u{7} # xxx`);
  expect(question).toMatch(/… and \d{4} more characters that are not shown here/);
}, 60_000);

/** A group that an owner has opened; Bob is no owner. */
async function openGroup() {
  const { people } = rig.telegram;
  const bob = people.person("Bob");
  const group = people.group("Team", { members: [rig.ada, bob] });
  const bridge = await rig.addSession(`telegram-g${-group.id}`);
  people.say(group, "/start@argus_test_bot", { from: rig.ada });
  await rig.heard(group, /I am here/);
  return { people, bob, group, bridge };
}
