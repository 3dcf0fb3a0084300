import { afterEach, beforeEach, expect, test } from "vitest";
import { BotRig, textOf } from "#test/support/bot-rig.ts";
import { eventually } from "#test/support/eventually.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";

let rig: BotRig;
const hosts: NodeHostProcess[] = [];
beforeEach(async () => {
  rig = await BotRig.start();
});
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.remove();
  await rig.stop();
});
const say = (text: string, who = rig.ada) => rig.telegram.people.say(who, text);

test("the menu has every command", () => {
  const [commands = []] = Object.values(rig.telegram.commands());
  expect(commands.map(({ command }) => command)).toEqual(
    expect.arrayContaining(
      "new stop status where cron heartbeat sessions nodes approve help".split(" "),
    ),
  );
});

test("an owner lets the chat talk to another session, by a word or a button; nobody else does", async () => {
  await rig.addSession("work");
  say("/sessions");
  const list = await rig.heard(rig.ada, /This chat talks to main/);
  expect(textOf(list)).toMatch(/→ main: .*\n• work: /);
  await rig.telegram.people.press(list, "Talk to work", rig.ada);
  const hello = say("hello");
  await rig.heard(rig.ada, /did hello/, hello.id);
  expect(rig.bridges.get("work")?.started.map(({ text }) => text)).toEqual(["hello"]);
  say("/sessions main");
  await rig.heard(rig.ada, /From now on this chat talks to main/);
  say("/sessions nowhere");
  await rig.heard(rig.ada, /There is no session nowhere/);
  const bob = rig.telegram.people.person("Bob");
  say("let me in", bob);
  const [code = ""] = /[A-Z2-9]{8}/.exec(textOf(await rig.heard(bob, /code/))) ?? [];
  say("/approve");
  await rig.heard(rig.ada, new RegExp(`Bob wants to write to me: /approve ${code}`));
  say(`/approve ${code.toLowerCase()}`);
  await rig.heard(rig.ada, /Bob may write/);
  say("/sessions work", bob);
  await rig.heard(bob, /Only an owner may let it talk/);
  say("/approve", bob);
  await rig.heard(bob, /Only an owner/);
  const answer = await rig.telegram.people.press(list, "Talk to work", bob);
  expect(answer).toMatchObject({ text: expect.stringMatching(/owner/) });
  say("/where");
  await rig.heard(rig.ada, /sessionId: main/);
}, 60_000);

test("devices are listed, and one that shows a code is let in from the chat", async () => {
  say("/nodes");
  const none = textOf(await rig.heard(rig.ada, /no device yet/));
  expect(none).toContain(`argus node-host pair ${rig.gateway.url}`);
  const host = await NodeHostProcess.make({ default: "allow" });
  hosts.push(host);
  const child = host.start(["pair", rig.gateway.url, "--node-id", "laptop"]);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const code = await eventually("the code", () => /code: (\w{8})/.exec(host.stdout)?.[1]);
  say("/approve");
  await rig.heard(rig.ada, new RegExp(`wants to connect: /approve ${code}`));
  say(`/approve ${code}`);
  await rig.heard(rig.ada, /I may use \S+ from now on/);
  expect(await ended).toBe(0);
  const asked = say("/nodes");
  expect(textOf(await rig.heard(rig.ada, /Devices that I can use/, asked.id))).toMatch(
    /• \S+ \(linux\)/,
  );
  say("/approve ABCD2345");
  await rig.heard(rig.ada, /There is no code ABCD2345/);
}, 60_000);

test("a session whose messages cannot be read refuses them with the reason, and nobody else waits", async () => {
  await rig.addSession("work");
  const { uid = "" } = rig.gateway.putSession("work").metadata;
  say("/sessions work");
  await rig.heard(rig.ada, /From now on this chat talks to work/);
  await rig.stopBot();
  await rig.gateway.stopGateway();
  await rig.gateway.seed(new Map([[uid, { schemaVersion: 999 } as never]]));
  await rig.gateway.startGateway();
  await rig.startBot();
  const hello = say("hello");
  await rig.heard(rig.ada, /not taken: The messages of session work cannot be read/, hello.id);
  const status = say("/status");
  await rig.heard(rig.ada, /not taken: The messages of session work cannot be read/, status.id);
  const bob = rig.telegram.people.person("Bob");
  say("let me in", bob);
  await rig.heard(bob, /code/);
  await eventually("all are confirmed", () => rig.telegram.pending().length === 0);
}, 60_000);

test("a device under a taken name is refused with the reason, and the chat goes on", async () => {
  const codeOf = async () => {
    const host = await NodeHostProcess.make({ default: "allow" });
    hosts.push(host);
    host.start(["pair", rig.gateway.url, "--node-id", "laptop"]);
    return await eventually("the code", () => /code: (\w{8})/.exec(host.stdout)?.[1]);
  };
  say(`/approve ${await codeOf()}`);
  await rig.heard(rig.ada, /I may use \S+ from now on/);
  say(`/approve ${await codeOf()}`);
  await rig.heard(rig.ada, /Another device is paired as laptop: revoke that one first/);
  say("hello");
  await rig.heard(rig.ada, /did hello/);
  await eventually("all are confirmed", () => rig.telegram.pending().length === 0);
}, 60_000);
