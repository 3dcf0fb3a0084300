import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { BotRig } from "#test/support/bot-rig.ts";
import { eventually } from "#test/support/eventually.ts";
import { freePort } from "#test/support/free-port.ts";

let rig: BotRig;
afterEach(() => rig.stop());

const ways = {
  asks: async () => undefined,
  "is posted to": async () => {
    const listen = { host: "127.0.0.1", port: await freePort() };
    return { url: `http://127.0.0.1:${listen.port}/hook`, listen };
  },
};

test.each(Object.keys(ways) as (keyof typeof ways)[])(
  "what a bot that %s was at when it was stopped, the gateway being away, is done by the next one",
  async (way) => {
    rig = await BotRig.start({ webhook: await ways[way]() });
    await rig.addSession("work");
    rig.telegram.people.say(rig.ada, "/sessions");
    const list = await rig.heard(rig.ada, /This chat talks to main/);
    const bob = rig.telegram.people.person("Bob");
    await rig.gateway.stopGateway();
    const answered = rig.telegram.people.press(list, "Talk to work", rig.ada);
    rig.telegram.people.say(bob, "let me in");
    // Long enough for the bot to be at them; they are not confirmed in either case.
    await delay(500);
    await rig.stopBot();
    expect(rig.telegram.pending()).toHaveLength(2);
    expect(rig.texts(bob)).toEqual([]);
    await rig.gateway.startGateway();
    await rig.startBot();
    expect(await answered).toMatchObject({ text: expect.stringMatching(/talks to work/) });
    await rig.heard(bob, /code/);
    await eventually("both are confirmed", () => rig.telegram.pending().length === 0);
  },
  120_000,
);
