import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { CHANNEL } from "#protocol/channel.ts";
import { CHANNEL_ASK } from "#protocol/channel-asks.ts";
import { CHANNEL_FILE } from "#protocol/channel-files.ts";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { blocksOf } from "#test/support/page-blocks.ts";

const PAGE = "docs/channels.md";
const page = readFileSync(join(import.meta.dirname, "..", "..", PAGE), "utf8");

let rig: GatewayRig;
let bridge: LaneBridge;
beforeEach(async () => {
  rig = await GatewayRig.start();
  rig.putSession("main");
  bridge = new LaneBridge();
  await rig.putPod("main", bridge.onPeer);
});
afterEach(async () => {
  await rig.stop();
});

test("the page names every method, and no other", () => {
  const table = page.slice(page.indexOf("## The adapter protocol"));
  const named = [...table.matchAll(/^\| `((?:channel|delivery)\/[a-z/]+)` \|/gm)].map(
    ([, name]) => name,
  );
  const known = [CHANNEL, CHANNEL_FILE, CHANNEL_ASK].flatMap((names) => Object.values(names));
  expect(new Set(named)).toEqual(new Set(known));
});

/** Values that a line names `<so>` are what the gateway said there first. */
class Names {
  readonly #known = new Map<string, unknown>();

  fill(line: string): string {
    return line.replace(/"<(\w+)>"/g, (_, name: string) => JSON.stringify(this.#known.get(name)));
  }

  learn(shape: unknown, said: unknown): void {
    if (typeof shape === "string" && /^<\w+>$/.test(shape)) {
      const name = shape.slice(1, -1);
      if (!this.#known.has(name)) this.#known.set(name, said);
    } else if (typeof shape === "object" && shape !== null) {
      for (const [key, value] of Object.entries(shape))
        this.learn(value, (said as Record<string, unknown> | undefined)?.[key]);
    }
  }
}

interface Said {
  id?: number;
  method?: string;
}

/** Plays the page's adapter: sends its lines, and compares what the gateway says with the others. */
async function play(block: string, meanwhile: () => void): Promise<number> {
  const socket = new WebSocket(`${rig.url.replace("http", "ws")}/channels/ws`, {
    headers: { authorization: `Bearer ${ADMIN}` },
  });
  await once(socket, "open");
  const said: Said[] = [];
  socket.on("message", (data: Buffer) => said.push(JSON.parse(data.toString("utf8"))));
  const names = new Names();
  const lines = block.trim().split("\n");
  for (const line of lines) {
    const text = line.slice(2);
    if (line.startsWith("→")) socket.send(names.fill(text));
    else {
      const shape = JSON.parse(text) as Said;
      const found = await eventually(`${line.slice(0, 40)}…`, () => {
        meanwhile();
        const index = said.findIndex(
          ({ id, method }) => id === shape.id && method === shape.method,
        );
        return index < 0 ? undefined : said.splice(index, 1)[0];
      });
      names.learn(shape, found);
      expect(found).toMatchObject(JSON.parse(names.fill(text)));
    }
  }
  socket.close();
  return lines.length;
}

test("the page's life of a message is what the gateway says, frame by frame", async () => {
  const [life = ""] = blocksOf(PAGE, "text");
  const count = await play(life, () => {
    // Its turn ends as soon as it runs: the page's adapter waits for the answer.
    const [first] = bridge.started;
    if (first && bridge.ledger.get(first.id)?.status === "inProgress") bridge.end(first.id);
  });
  expect(count).toBeGreaterThan(10);
});

test("so is the life of a question, and the agent hears what was decided", async () => {
  const [, question = ""] = blocksOf(PAGE, "text");
  let isAsked = false;
  const count = await play(question, () => {
    const [first] = bridge.started;
    if (!first || isAsked) return;
    isAsked = true;
    const asked = { command: "rm -r build", cwd: "/ws", reason: "to tidy up" };
    bridge.ask(5, first.id, "item/commandExecution/requestApproval", asked);
  });
  expect(count).toBeGreaterThan(10);
  await eventually("the agent is answered", () => bridge.answers.length === 1);
  expect(bridge.answers).toEqual([{ id: 5, result: { decision: "accept" } }]);
});
