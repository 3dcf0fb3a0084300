import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { NodeAnswer } from "#protocol/node-methods.ts";
import type { QueuedRow } from "#protocol/queued-call.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { joined } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import type { NodeHostProcess } from "#test/support/node-host.ts";
import { proofSize, proved } from "#test/support/proof.ts";
import { randomFrom } from "#test/support/replicas.ts";

let up: ArgusUp;
let host: NodeHostProcess;
beforeAll(async () => {
  up = await ArgusUp.start();
  const session = `apiVersion: argus.dev/v1alpha1\nkind: ArgusSession\nmetadata: { name: main }\nspec: { operatingMode: Suspended, heartbeat: { intervalSeconds: 0 } }\n`;
  await up.kubectl(["apply", "-f", "-"], session);
  host = await joined(up, { nodeId: "laptop", session: "main" });
});
afterAll(async () => {
  await host?.remove();
  await up?.destroy();
});

/** Over as many gateways as it takes: whoever got no answer asks again. */
async function request<T>(method: string, params: object = {}): Promise<T> {
  return await eventually(
    method,
    async () => {
      const client = await up.connect({ session: "main" });
      try {
        return (await client.request(method, params)) as T;
      } finally {
        await client.close();
      }
    },
    60_000,
  );
}
const rows = async () => (await request<{ calls: QueuedRow[] }>("argus/node/queue/list")).calls;
const events = async () =>
  (await request<{ events: { key: string; text?: string }[] }>("argus/event/list", { limit: 1000 }))
    .events;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function killGateway(): Promise<void> {
  for (const { pid } of up.find("argus.mjs gateway")) process.kill(pid, "SIGKILL");
}

async function killHost(): Promise<void> {
  await host.kill();
  host.start(["run"]);
}

test("gateway and node-host killed at any moment: each queued command runs once, in order, and is told once", async () => {
  const seed = Date.now() % 1_000_000;
  const random = randomFrom(seed);
  const rounds = proofSize(2, 40);
  const perRound = 5;
  let kills = 0;
  for (let round = 0; round < rounds; round++) {
    await host.kill();
    const words = Array.from({ length: perRound }, (_, index) => `r${round}n${index}`);
    const told: string[] = [];
    for (const word of words) {
      const params = {
        argv: ["sh", "-c", `echo ${word} >> ${host.folder}/log; echo said ${word}`],
      };
      const call = { node: "laptop", command: "system.run", params, queueForMs: 600_000 };
      const asking = request<NodeAnswer>("argus/node/invoke", { ...call, callId: word });
      if (random() < 0.3)
        await pause(random() * 20)
          .then(killGateway)
          .then(() => kills++);
      const { payload } = await asking;
      told.push((payload as QueuedRow).callId);
    }
    host.start(["run"]);
    for (let kill = 0; kill < 3; kill++) {
      await pause(random() * 2500);
      await (random() < 0.5 ? killGateway() : killHost());
      kills += 1;
    }
    await eventually(
      `round ${round} of seed ${seed} has ended`,
      async () => {
        const ended = await rows();
        return told.every((id) =>
          ended.some(({ callId, endedAtMs }) => callId === id && endedAtMs),
        );
      },
      120_000,
    );
    const log = (await readFile(join(host.folder, "log"), "utf8")).split("\n");
    const ran = log.filter((line) => line.startsWith(`r${round}n`));
    expect(ran, `seed ${seed}`).toEqual(words);
    const said = await eventually("all are told", async () => {
      const texts = (await events()).map(({ text = "" }) => text);
      const found = words.map((word) => texts.filter((text) => text.includes(`said ${word}\n`)));
      return found.every((each) => each.length > 0) && found;
    });
    expect(said.map((each) => each.length)).toEqual(words.map(() => 1));
    for (const { key } of await events()) await request("argus/event/drop", { key });
  }
  // None came once more after it was looked at.
  expect(await events()).toHaveLength(rounds * perRound);
  proved(`queue: ${rounds * perRound} queued commands over ${kills} kills, 0 lost, 0 twice`);
}, 3_600_000);
