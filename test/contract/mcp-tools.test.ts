import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { joined } from "#test/support/devices.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import type { NodeHostProcess } from "#test/support/node-host.ts";

const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
const folder = join(cache, "argus-test/mcp-tools/node_modules/.bin");
const isThere = ["conformance", "mcp-inspector"].every((name) => existsSync(join(folder, name)));
if (!isThere) console.warn("skipped: run sh scripts/mcp-tools.sh first");

interface Ended {
  code: number;
  text: string;
}

/** Both run on this Node. */
function run(name: string, args: string[]): Promise<Ended> {
  const options = { cwd: tmpdir(), env: { ...process.env, NO_COLOR: "1" } };
  return new Promise((resolve) => {
    execFile(process.execPath, [join(folder, name), ...args], options, (error, stdout, stderr) => {
      const code = error ? Number(error.code ?? 1) : 0;
      resolve({ code, text: `${stdout}${stderr}` });
    });
  });
}

describe.skipIf(!isThere)("tools of others against /mcp", () => {
  let rig: GatewayRig;
  let host: NodeHostProcess;
  let token: string;
  beforeAll(async () => {
    rig = await GatewayRig.start();
    rig.putSession("a");
    ({ token } = await rig.putPod("a"));
    host = await joined({ url: rig.url, token: ADMIN }, { nodeId: "laptop", session: "a" });
  });
  afterAll(async () => {
    await host?.remove();
    await rig?.stop();
  });

  // The others need tools, prompts and resources that only a server made for them has.
  test.each([
    "server-initialize",
    "ping",
    "tools-list",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
  ])("conformance: %s", async (scenario) => {
    const url = `${rig.url}/mcp?token=${token}`;
    const { code, text } = await run("conformance", [
      "server",
      "--url",
      url,
      "--scenario",
      scenario,
    ]);
    expect(code, text).toBe(0);
    expect(text).toMatch(/Passed: [1-9]\d*\/\d+, 0 failed/);
  });

  const inspect = (...args: string[]) =>
    run("mcp-inspector", [
      ...`--cli ${rig.url}/mcp --transport http --header`.split(" "),
      `Authorization: Bearer ${token}`,
      ...args,
    ]);

  test("the inspector lists the tools and calls one", async () => {
    const listed = await inspect("--method", "tools/list");
    expect(listed.code, listed.text).toBe(0);
    for (const name of ["nodes_list", "node_invoke", "job_output", "cron", "session_status"])
      expect(listed.text).toContain(`"name": "${name}"`);
    const called = await inspect("--method", "tools/call", "--tool-name", "nodes_list");
    expect(called.code, called.text).toBe(0);
    expect(called.text).toContain("laptop");
  });
});
