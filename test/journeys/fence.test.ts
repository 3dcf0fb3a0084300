import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ArgusUp } from "../support/argus-up.ts";
import { ExtraGateway } from "../support/extra-gateway.ts";
import { processesOf } from "../support/processes.ts";

let up: ArgusUp;
let successor: ExtraGateway | undefined;
const state = mkdtempSync(join(tmpdir(), "argus-fence-"));

beforeAll(async () => {
  up = await ArgusUp.start();
});
afterAll(async () => {
  await successor?.stop();
  await up?.destroy();
  rmSync(state, { recursive: true, force: true });
});

test("a gateway that was stopped, replaced and resumed can start nothing", async () => {
  const stale = await up.connect({ session: "main" });
  await stale.initialize();
  const { thread } = await stale.request("thread/start");
  const threadId = (thread as { id: string }).id;
  const say = (text: string) => ({ threadId, input: [{ type: "text", text }] });
  const before = (await stale.request("turn/start", say("before"))).turn as { id: string };
  await stale.turnCompleted(before.id);

  const [gateway] = processesOf(up.data).filter(({ command }) =>
    command.includes("argus.ts gateway"),
  );
  if (!gateway) throw new Error("argus up runs no gateway");
  process.kill(gateway.pid, "SIGSTOP");
  // These lines wait in the stopped gateway's socket.
  stale.send({ id: 900, method: "turn/start", params: say("stale words") });

  cpSync(join(up.data, "state"), state, { recursive: true });
  successor = await ExtraGateway.start(up, state);
  const fresh = await successor.connect({ session: "main" });
  await fresh.initialize();
  process.kill(gateway.pid, "SIGCONT");

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
