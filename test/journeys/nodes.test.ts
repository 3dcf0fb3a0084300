import { afterAll, beforeAll, expect, test } from "vitest";
import { ArgusUp, argus } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";

let up: ArgusUp;
let host: NodeHostProcess;
beforeAll(async () => {
  up = await ArgusUp.start();
  host = await NodeHostProcess.make();
});
afterAll(async () => {
  await host.remove();
  await up.destroy();
});

const at = (...words: string[]) => [...words.slice(0, 1), "--data", up.data, ...words.slice(1)];
const cli = (...words: string[]) => argus(at(...words));

test("a device pairs by a code that the owner confirms, and a command runs on it like by ssh", async () => {
  const pairing = host.start([
    "pair",
    up.url,
    "--node-id",
    "laptop",
    "--display-name",
    "My laptop",
  ]);
  const paired = new Promise((resolve) => pairing.once("exit", resolve));
  const code = await eventually("the code is shown", () => /code: (\w{8})/.exec(host.stdout)?.[1]);
  expect((await argus(["nodes", "pending", "--data", up.data])).stdout).toContain(code);
  const approved = await cli("approve", code);
  expect(approved).toMatchObject({ code: 0, stdout: "My laptop (laptop) may be used by main\n" });
  expect(await paired).toBe(0);
  host.start(["run"]);
  await eventually("it is there", async () => (await cli("nodes")).stdout.includes("connected"));
  const echoed = await cli("run", "laptop", "--", "sh", "-c", "echo hi; echo oh >&2; exit 7");
  expect(echoed).toEqual({ code: 7, stdout: "hi\n", stderr: "oh\n" });
});
