import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { CHANNEL } from "#protocol/channel.ts";
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
  const named = [...table.matchAll(/^\| `((?:channel|delivery)\/[a-z]+)` \|/gm)].map(
    ([, name]) => name,
  );
  expect(new Set(named)).toEqual(new Set(Object.values(CHANNEL)));
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

test("the page's life of a message is what the gateway says, frame by frame", async () => {
  const [life = ""] = blocksOf(PAGE, "text");
  const socket = new WebSocket(`${rig.url.replace("http", "ws")}/channels/ws`, {
    headers: { authorization: `Bearer ${ADMIN}` },
  });
  await once(socket, "open");
  const answers: { id?: number }[] = [];
  socket.on("message", (data: Buffer) => answers.push(JSON.parse(data.toString("utf8"))));
  const names = new Names();
  const lines = life.trim().split("\n");
  for (const line of lines) {
    const text = line.slice(2);
    if (line.startsWith("→")) socket.send(names.fill(text));
    else {
      const shape = JSON.parse(text) as { id: number };
      const said = await eventually(`an answer to ${shape.id}`, () => {
        // Its turn ends as soon as it runs: the page's adapter waits for the answer.
        const [first] = bridge.started;
        if (first && bridge.ledger.get(first.id)?.status === "inProgress") bridge.end(first.id);
        return answers.find(({ id }) => id === shape.id);
      });
      names.learn(shape, said);
      expect(said).toMatchObject(JSON.parse(names.fill(text)));
    }
  }
  expect(lines.length).toBeGreaterThan(10);
  socket.close();
});
