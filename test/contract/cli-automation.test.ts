import { afterAll, beforeAll, expect, test } from "vitest";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { argus } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";

let rig: GatewayRig;
const bridge = new LaneBridge();
beforeAll(async () => {
  rig = await GatewayRig.start();
});
afterAll(() => rig.stop());

const run = (...args: string[]) => argus([...args, "--url", rig.url, "--token", ADMIN]);
async function says(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
}

test("a session is made, named, looked at, bound to a chat and deleted", {
  timeout: 120_000,
}, async () => {
  expect(await says("sessions", "create", "garden", "--title", "The garden")).toContain("made");
  expect(await says("sessions", "create", "garden")).toContain("was there already");
  await eventually("it is listed", async () => (await says("sessions")).includes("The garden"));
  expect(await says("sessions", "rename", "garden", "Roses")).toContain("is called Roses");
  expect(await says("sessions", "bind", "garden", "telegram:1")).toContain(
    "telegram:1 talks to garden from now on; events and heartbeats speak to it",
  );
  const shown = await says("sessions", "show", "garden");
  expect(shown).toMatch(/^title +Roses$/m);
  expect(shown).toMatch(/^conversation +begins with the next message$/m);
  expect(shown).toMatch(/^events go to +telegram:1$/m);
  expect(await says("sessions", "unbind", "telegram:1")).toContain("does not talk to garden");
  expect(await says("sessions", "new", "garden")).toContain("begins a new conversation");
  const asked = await run("sessions", "delete", "garden");
  expect(asked.code).toBe(65);
  expect(asked.stderr).toContain("its conversation and its files");
  expect(await says("sessions", "delete", "garden", "--yes")).toContain("is being deleted");
  await eventually("it is gone", () => rig.session("garden") === undefined);
  const gone = await run("sessions", "delete", "garden", "--yes");
  expect([gone.code, gone.stderr]).toEqual([66, expect.stringContaining("no session garden")]);
});

test("the main thread is printed and another one chosen", { timeout: 120_000 }, async () => {
  rig.putSession("main");
  await rig.putPod("main", bridge.onPeer);
  expect(await says("sessions", "thread", "main")).toBe("t1\n");
  const wrong = await run("sessions", "thread", "main", "t9");
  expect([wrong.code, wrong.stderr]).toEqual([65, expect.stringContaining("no thread t9")]);
});

/** After a tool nothing is tried again. */
async function failed(turns: number): Promise<void> {
  await eventually("its turn", () => bridge.started.length === turns);
  const item = { id: "c1", type: "commandExecution" };
  bridge.say("item/started", { turnId: `turn-${turns}`, item });
  bridge.end(bridge.started[turns - 1]?.id ?? "", "failed", { message: "no water" });
}

test("a schedule is made, switched off, run, and its event looked at", {
  timeout: 120_000,
}, async () => {
  const made = await says("cron", "add", "0 7 * * *", "water the roses", "--id", "roses");
  expect(made).toContain("schedule roses made: 0 7 * * * (UTC)");
  await says("cron", "update", "roses", "--time-zone", "Europe/Berlin", "--no-enabled");
  expect(await says("cron", "list")).toMatch(/^roses +0 7 \* \* \* +Europe\/Berlin +off/m);
  expect(await says("cron", "update", "roses", "--enabled")).not.toContain("off");
  expect(await says("cron", "run", "roses")).toContain("runs now");
  await failed(1);
  await eventually("it was given up", async () =>
    /run\/.* DeadLettered .*no water/.test(await says("events")),
  );
  const [key = ""] = /run\/\S+/.exec(await says("events")) ?? [];
  expect(await says("events", "show", key)).toMatch(/^text +water the roses$/m);
  expect(await says("events", "retry", key)).toContain("queued");
  await eventually("its turn", () => bridge.started.length === 2);
  bridge.end(bridge.started[1]?.id ?? "");
  const quiet = () =>
    eventually("nothing waits", async () =>
      (await says("events")).includes("no event of this session waits"),
    );
  await quiet();
  await says("cron", "run", "roses");
  await failed(3);
  const next = await eventually(
    "its dead letter",
    async () => /run\/\S+(?= .*DeadLettered)/.exec(await says("events"))?.[0],
  );
  expect(await says("events", "drop", next)).toContain("given up");
  await quiet();
  expect(await says("cron", "remove", "roses")).toContain("removed");
  expect(await says("cron")).toContain("has no schedule");
  const none = await run("cron", "run", "roses");
  expect([none.code, none.stderr]).toEqual([66, expect.stringContaining("Job not found")]);
  const wrong = await run("cron", "add", "61 * * * *", "x");
  expect([wrong.code, wrong.stderr]).toEqual([65, expect.stringContaining("cannot be read")]);
});
