import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { randomSource } from "../bench/relay/random-lines.ts";
import { type FakeModel, startFakeModel } from "../fakes/model.ts";
import { ArgusUp } from "../support/argus-up.ts";
import { eventually } from "../support/eventually.ts";
import { killAll } from "../support/processes.ts";
import { proofSize } from "../support/proof.ts";
import { proofSeed } from "../support/seed.ts";

/** Sessions whose model answers are all cut by one kill. */
const SESSIONS = 4;
/** The answer takes three seconds; the kill comes in its middle. */
const WORDS = "slow: 30";
const MIDDLE_MS = 2000;
const PATIENCE_MS = 120_000;
const kills = proofSize(3, 50);
const random = randomSource(proofSeed());

let model: FakeModel;
let up: ArgusUp;
const names = Array.from({ length: SESSIONS }, (_, index) => `stream-${index}`);

beforeAll(async () => {
  model = await startFakeModel();
  up = await ArgusUp.start({ env: { ARGUS_MODEL_UPSTREAM: model.url, ARGUS_MODEL: "mock-model" } });
  for (const name of names) {
    const spec = "spec: { approvals: never, heartbeat: { intervalSeconds: 0 } }";
    const yaml = `apiVersion: argus.dev/v1alpha1\nkind: ArgusSession\nmetadata: { name: ${name} }\n${spec}\n`;
    await up.kubectl(["apply", "-f", "-"], yaml);
  }
  for (const name of names) {
    await up.kubectl(["wait", "--for=condition=Ready", `asess/${name}`, "--timeout=90s"]);
  }
}, 180_000);
afterAll(async () => {
  await up?.destroy();
  await model?.close();
});

interface Ended {
  key: string;
  state: string;
  reason: string;
}

async function send(session: string, key: string): Promise<void> {
  const client = await up.connect({ session });
  await client.request("argus/input/enqueue", { text: WORDS, key });
  await client.close();
}

/** What became of the message; asked over as many connections as it takes. */
async function endOf(session: string, key: string): Promise<Ended> {
  const look = async () => {
    try {
      const client = await up.connect({ session });
      const { ended } = await client.request("argus/input/list");
      await client.close();
      return (ended as Ended[]).find((each) => each.key === key);
    } catch {
      return undefined; // the gateway is being started
    }
  };
  return await eventually(`the end of ${key} in ${session}`, look, PATIENCE_MS);
}

test(
  "a gateway that is killed while the model speaks fails no turn and starts none twice",
  async () => {
    const cut: string[] = [];
    for (let kill = 0; kill < kills; kill += 1) {
      const sent = names.map((name) => ({ name, key: randomUUID() }));
      const before = model.requests.length;
      await Promise.all(sent.map(({ name, key }) => send(name, key)));
      await eventually(
        "all are being answered",
        () => model.requests.length >= before + SESSIONS,
        PATIENCE_MS,
      );
      await delay(random() * MIDDLE_MS);
      killAll(up.find("argus.mjs gateway"));
      for (const { name, key } of sent) {
        const { state, reason } = await endOf(name, key);
        expect({ state, reason }, `kill ${kill}, ${name}`).toEqual({ state: "done", reason: "" });
      }
      cut.push(...model.requests.slice(before).map(({ closedEarly }) => String(closedEarly)));
    }
    const early = cut.filter((each) => each === "true").length;
    console.info(`proof: ${kills} × kill -9, ${early} answers cut in their middle, 0 failed turns`);
    expect(early).toBeGreaterThan(0);
    // Each message is one turn of its thread: asked again for a cut answer, never put in twice.
    for (const name of names) await onceEach(name);
  },
  kills * 2 * PATIENCE_MS,
);

async function onceEach(session: string): Promise<void> {
  const client = await up.connect({ session });
  await client.initialize();
  const { threadId } = await client.request("argus/thread/main/ensure");
  const { thread } = await client.request("thread/read", { threadId, includeTurns: true });
  const { turns } = thread as { turns: { status: string }[] };
  expect(turns.map(({ status }) => status)).toEqual(
    Array.from({ length: kills }, () => "completed"),
  );
  await client.close();
}
