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
/** Deaths of one session: each makes the pause before its next start longer. */
const DEATHS_A_PART = 10;
const parts = Array.from({ length: Math.ceil(deaths / DEATHS_A_PART) }, (_, index) => index);
const sessionOf = (part: number) => `mortal-${part}`;
const random = randomSource(proofSeed());

let model: FakeModel;
let up: ArgusUp;
beforeAll(async () => {
  model = await startFakeModel();
  up = await ArgusUp.start({ env: { ARGUS_MODEL_UPSTREAM: model.url, ARGUS_MODEL: "mock-model" } });
}, 180_000);
afterAll(async () => {
  await up?.destroy();
  await model?.close();
});

async function joined(session: string): Promise<WsClient> {
  const yaml = `apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: ${session} }
spec: { approvals: never, heartbeat: { intervalSeconds: 0 } }
`;
  await up.kubectl(["apply", "-f", "-"], yaml);
  await up.kubectl(["wait", "--for=condition=Ready", `asess/${session}`, "--timeout=90s"]);
  const client = await up.connect({ session });
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

test.each(parts)(
  "part %i: an app-server that dies right after a start: the message ran once or its sender is told, and the next one works",
  async (part) => {
    const client = await joined(sessionOf(part));
    const outcomes: string[] = [];
    const count = Math.min(DEATHS_A_PART, deaths - part * DEATHS_A_PART);
    for (let death = 0; death < count; death += 1) {
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
    console.info(
      `proof: ${count} deaths: ${JSON.stringify(Object.groupBy(outcomes, (each) => each))}`,
    );
    await client.close();
    await up.kubectl(["delete", "argussession", sessionOf(part), "--wait=false"]);
  },
  DEATHS_A_PART * 120_000,
);
