import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { randomSource } from "../bench/relay/random-lines.ts";
import { type FakeModel, startFakeModel } from "../fakes/model.ts";
import { ArgusUp } from "../support/argus-up.ts";
import { killAll } from "../support/processes.ts";
import { proofSize } from "../support/proof.ts";
import { proofSeed } from "../support/seed.ts";
import type { Message, WsClient } from "../support/ws-client.ts";

/** The app-server dies so soon after it was told to start a turn. */
const SOON_MS = 60;
const deaths = proofSize(4, 60);
const random = randomSource(proofSeed());

let model: FakeModel;
let up: ArgusUp;
beforeAll(async () => {
  model = await startFakeModel();
  up = await ArgusUp.start({ env: { ARGUS_MODEL_UPSTREAM: model.url, ARGUS_MODEL: "mock-model" } });
  const yaml = `apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: mortal }
spec: { approvals: never, heartbeat: { intervalSeconds: 0 } }
`;
  await up.kubectl(["apply", "-f", "-"], yaml);
  await up.kubectl(["wait", "--for=condition=Ready", "asess/mortal", "--timeout=90s"]);
}, 180_000);
afterAll(async () => {
  await up?.destroy();
  await model?.close();
});

async function joined(): Promise<WsClient> {
  const client = await up.connect({ session: "mortal" });
  await client.initialize();
  return client;
}

interface Ended {
  state: string;
  reason: string;
}

async function endOf(client: WsClient, inputId: string): Promise<Ended> {
  const isEnd = ({ method, params }: Message) =>
    method === "argus/input/ended" && params?.id === inputId;
  const { params } = await client.waitFor(`the end of ${inputId}`, isEnd);
  const { state, reason } = (params ?? {}) as Partial<Ended>;
  return { state: state ?? "", reason: reason ?? "" };
}

test(
  "an app-server that dies right after a start: the message ran once or its sender is told, and the next one works",
  async () => {
    const client = await joined();
    const outcomes: string[] = [];
    for (let death = 0; death < deaths; death += 1) {
      const word = `word-${randomUUID()}`;
      const from = client.received.length;
      const { inputId } = await client.request("argus/input/enqueue", { text: word });
      const isActive = ({ method, params }: Message) =>
        method === "thread/status/changed" &&
        (params?.status as { type?: string } | undefined)?.type === "active";
      await client.waitFor("its turn's start", isActive, from);
      await delay(random() * SOON_MS);
      killAll(up.find("app-server"));
      const { state, reason } = await endOf(client, String(inputId));
      outcomes.push(state);
      if (state !== "done") expect(reason, state).not.toBe("");
      const inputs = model.requests.filter(({ words }) => words.includes(word));
      expect(inputs.length, "asked of the model").toBeLessThanOrEqual(1);
      const after = await client.request("argus/input/enqueue", { text: `after ${death}` });
      expect(await endOf(client, String(after.inputId))).toEqual({ state: "done", reason: "" });
    }
    console.info(`${deaths} deaths: ${JSON.stringify(Object.groupBy(outcomes, (each) => each))}`);
    await client.close();
  },
  deaths * 120_000,
);
