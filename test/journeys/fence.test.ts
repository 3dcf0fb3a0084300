import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ArgusUp } from "../support/argus-up.ts";
import { eventually } from "../support/eventually.ts";
import { ExtraGateway } from "../support/extra-gateway.ts";
import { processesOf } from "../support/processes.ts";
import type { WsClient } from "../support/ws-client.ts";

let up: ArgusUp;
let successor: ExtraGateway | undefined;
let state: string;

beforeEach(async () => {
  state = mkdtempSync(join(tmpdir(), "argus-fence-"));
  up = await ArgusUp.start();
});
afterEach(async () => {
  await successor?.stop();
  await up?.destroy();
  rmSync(state, { recursive: true, force: true });
});

function processOf(words: string): number {
  const [found] = processesOf(up.data).filter(({ command }) => command.includes(words));
  if (!found) throw new Error(`argus up runs no ${words}`);
  return found.pid;
}

test("a gateway that was stopped, replaced and resumed can start nothing", async () => {
  const stale = await up.connect({ session: "main" });
  await stale.initialize();
  const { thread } = await stale.request("thread/start");
  const threadId = (thread as { id: string }).id;
  const say = (text: string) => ({ threadId, input: [{ type: "text", text }] });
  const before = (await stale.request("turn/start", say("before"))).turn as { id: string };
  await stale.turnCompleted(before.id);

  const gateway = processOf("argus.mjs gateway");
  process.kill(gateway, "SIGSTOP");
  // These lines wait in the stopped gateway's socket.
  stale.send({ id: 900, method: "turn/start", params: say("stale words") });

  cpSync(join(up.data, "state"), state, { recursive: true });
  successor = await ExtraGateway.start(up, state);
  const fresh = await successor.connect({ session: "main" });
  await fresh.initialize();
  process.kill(gateway, "SIGCONT");

  const { code } = await stale.waitClosed();
  expect(code).toBe(1012);
  // Nor can it come back: a lower epoch is refused for good.
  const again = await up.connect({ session: "main" });
  expect(await again.waitClosed()).toMatchObject({
    code: 1013,
    reason: expect.stringContaining("newer gateway"),
  });

  const after = (await fresh.request("turn/start", say("after"))).turn as { id: string };
  await fresh.turnCompleted(after.id);
  const read = await fresh.request("thread/read", { threadId, includeTurns: true });
  expect(JSON.stringify(read)).toContain("before");
  expect(JSON.stringify(read)).toContain("after");
  expect(JSON.stringify(read)).not.toContain("stale words");
  await fresh.close();
});

test("a lane's start that lies in the bridge's socket while its gateway is replaced makes one turn", async () => {
  const first = await up.connect({ session: "main" });
  await first.initialize();
  const before = await first.request("argus/input/enqueue", { text: "words-1" });
  await ended(first, String(before.inputId));

  const [gateway, bridge] = [processOf("argus.mjs gateway"), processOf("argus.mjs bridge")];
  process.kill(bridge, "SIGSTOP");
  const { inputId } = await first.request("argus/input/enqueue", { text: "words-2" });
  await eventually("the start lies in the bridge's socket", () => unreadAt(7777) > 0);
  process.kill(gateway, "SIGSTOP");

  cpSync(join(up.data, "state"), state, { recursive: true });
  successor = await ExtraGateway.start(up, state);
  const fresh = await successor.connect({ session: "main" });
  process.kill(bridge, "SIGCONT");
  await fresh.initialize();
  expect(await ended(fresh, String(inputId))).toMatchObject({ state: "done" });
  process.kill(gateway, "SIGCONT");
  expect(await first.waitClosed()).toMatchObject({ code: 1012 });

  const after = await fresh.request("argus/input/enqueue", { text: "words-3" });
  expect(await ended(fresh, String(after.inputId))).toMatchObject({ state: "done" });
  const { threadId } = (await ended(fresh, String(inputId))) as { threadId: string };
  const read = await fresh.request("thread/read", { threadId, includeTurns: true });
  const { turns } = read.thread as { turns: unknown[] };
  const told = turns.map((turn) => JSON.stringify(turn));
  for (const words of ["words-1", "words-2", "words-3"]) {
    expect(told.filter((turn) => turn.includes(words))).toHaveLength(1);
  }
  await fresh.close();
});

/** The entry once its turn has ended. */
async function ended(client: WsClient, inputId: string): Promise<Record<string, unknown>> {
  const found = async () => {
    const { ended: all } = await client.request("argus/input/list", {});
    return (all as { id: string }[]).find(({ id }) => id === inputId);
  };
  return (await eventually(`${inputId} has ended`, found, 60_000)) as Record<string, unknown>;
}

/** Bytes that came to sockets of a local port and that nobody has read yet. */
function unreadAt(port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const lines = readFileSync("/proc/net/tcp", "latin1").split("\n").slice(1);
  const of = lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local]) => local?.endsWith(`:${hex}`));
  return of.reduce(
    (sum, [, , , , queues = ""]) => sum + Number.parseInt(queues.split(":")[1] ?? "0", 16),
    0,
  );
}
