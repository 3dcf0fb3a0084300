import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ArgusUp, argus } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import type { WsClient } from "#test/support/ws-client.ts";

interface Row {
  key: string;
  state: string;
  slot: string;
}
interface Status {
  lastRun?: { slot: string; state: string; finishedAt?: string };
  lastSuccessfulTime?: string;
  missedSchedules?: number;
  conditions?: { type: string; status: string; reason: string }[];
}

const root = join(import.meta.dirname, "..", "..");
let up: ArgusUp;
beforeAll(async () => {
  up = await ArgusUp.start();
});
afterAll(async () => {
  await up?.destroy();
});

const yaml = (name: string, schedule: string, text: string) => `
apiVersion: argus.dev/v1alpha1
kind: ArgusCron
metadata: { name: ${name} }
spec:
  schedule: "${schedule}"
  sessionRef: { name: main }
  event: { text: "${text}" }
`;
const statusOf = async (name: string): Promise<Status> =>
  JSON.parse(await up.kubectl(["get", "acron", name, "-o", "json"])).status ?? {};

async function rows(client: WsClient): Promise<Row[]> {
  const { events } = await client.request("argus/event/list", { limit: 1000 });
  return events as Row[];
}

test("a schedule's slots become turns, and its status says how the last one ended", async () => {
  await up.kubectl(["apply", "-f", "-"], yaml("ticks", "*/2 * * * * *", "tick of the test"));
  const status = await eventually(
    "a slot succeeded",
    async () => {
      const now = await statusOf("ticks");
      return now.lastSuccessfulTime !== undefined ? now : undefined;
    },
    60_000,
  );
  expect(status.conditions?.[0]).toMatchObject({ type: "Ready", status: "True" });
  await up.kubectl(["patch", "acron", "ticks", "--type=merge", "-p", '{"spec":{"suspend":true}}']);
  const final = await eventually(
    "the last run is final",
    async () => {
      const now = await statusOf("ticks");
      return now.lastRun?.state === "Succeeded" ? now : undefined;
    },
    60_000,
  );
  expect(final.lastRun?.finishedAt).toMatch(/Z$/);
  expect(final.lastSuccessfulTime).toBe(final.lastRun?.slot);
  const shown = await up.kubectl(["get", "acron", "ticks"]);
  expect(shown).toContain("Succeeded");
}, 120_000);

test("gateway and controller killed around slots: each slot is told once or counted, and the last run is true", async () => {
  const name = "hard";
  await up.kubectl(["apply", "-f", "-"], yaml(name, "*/2 * * * * *", "hard tick"));
  const uid = await up.kubectl(["get", "acron", name, "-o", "jsonpath={.metadata.uid}"]);
  for (let round = 0; round < 6; round += 1) {
    const { lastRun } = await statusOf(name);
    await eventually(
      "another slot was posted",
      async () => (await statusOf(name)).lastRun?.slot !== lastRun?.slot,
      60_000,
    );
    const victim = round % 2 === 0 ? "argus.mjs gateway" : "argus.mjs controller";
    for (const { pid } of up.find(victim)) process.kill(pid, "SIGKILL");
  }
  await up.kubectl(["patch", "acron", name, "--type=merge", "-p", '{"spec":{"suspend":true}}']);
  const client = await eventually("the gateway is back", () =>
    up.connect({ session: "main" }).catch(() => undefined),
  );
  await eventually(
    "nothing is open",
    async () => (await rows(client)).every(({ state }) => !["Queued", "Running"].includes(state)),
    60_000,
  );
  const hard = (await rows(client)).filter(({ key }) => key.startsWith(uid));
  expect(hard.length).toBeGreaterThanOrEqual(6);
  expect(new Set(hard.map(({ slot }) => slot)).size).toBe(hard.length);
  expect(hard.every(({ state }) => state === "Succeeded")).toBe(true);
  const final = await eventually(
    "the last run is final",
    async () => {
      const { lastRun } = await statusOf(name);
      return lastRun?.state === "Succeeded" ? lastRun : undefined;
    },
    60_000,
  );
  expect(final.slot).toBe(hard[0]?.slot);
  await client.close();
}, 240_000);

test("a schedule's turns are seen in a chat that runs, also in the conversation that was begun meanwhile", async () => {
  const example = (name: string) => readFileSync(join(root, "examples", name), "utf8");
  await up.kubectl(["apply", "-f", "-"], example("session.yaml"));
  const chat = spawn(join(root, "argus"), ["chat", "demo", "--data", up.data], { stdio: "pipe" });
  const seen = { words: "", notes: "" };
  chat.stdout.setEncoding("utf8").on("data", (chunk: string) => (seen.words += chunk));
  chat.stderr.setEncoding("utf8").on("data", (chunk: string) => (seen.notes += chunk));
  const ended = once(chat, "close");
  try {
    chat.stdin.write("hello\n");
    await eventually("the person's own words", () => seen.words.includes("hello"));
    const often = example("cron.yaml").replace(/schedule: .*/, 'schedule: "*/2 * * * * *"');
    await up.kubectl(["apply", "-f", "-"], often);
    const turns = () => seen.words.split("Good morning. What is on the list").length - 1;
    await eventually("two turns of the schedule", () => turns() >= 2);
    expect(seen.notes).toContain("woken by");
    const begun = await argus(["sessions", "new", "demo", "--data", up.data]);
    expect(begun.stdout).toContain("begins a new conversation");
    const before = turns();
    await eventually("two more in the new conversation", () => turns() >= before + 2);
    expect(seen.notes.match(/session demo, /g)?.length).toBeGreaterThanOrEqual(2);
  } finally {
    chat.stdin.end();
    chat.kill("SIGTERM");
    await ended;
  }
}, 240_000);
