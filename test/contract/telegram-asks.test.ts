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
  const { people } = rig.telegram;
  const bob = people.person("Bob");
  const group = people.group("Team", { members: [rig.ada, bob] });
  const bridge = await rig.addSession(`telegram-g${-group.id}`);
  people.say(group, "/start@argus_test_bot", { from: rig.ada });
  await rig.heard(group, /I am here/);
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

test("every character of a command is seen: markup, hidden and turned ones, and how much is cut off", async () => {
  const command = `echo "<b>&amp;</b>" \u202e\u200b\u0007 # ${"x".repeat(9000)}`;
  await asks(main(), rig.ada, command);
  const question = textOf(await rig.heard(rig.ada, /^❓/));
  expect(question).toContain(`echo "<b>&amp;</b>" \\u{202e}\\u{200b}\\u{7} # xxx`);
  expect(question).toMatch(/… and \d{4} more characters that are not shown here/);
}, 60_000);
