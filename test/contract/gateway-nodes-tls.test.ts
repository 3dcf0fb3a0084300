import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { clientOf, connected, pair } from "#test/support/devices.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";
import { hasProxy, startTlsProxy } from "#test/support/tls-proxy.ts";

/** Cuts connections without traffic after 20 s; the usual proxies do it after 60 s. */
const IDLE_SECONDS = 20;

test.skipIf(!hasProxy())(
  "a device joins through a TLS proxy and stays, though the proxy cuts idle connections",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "argus-tls-"));
    const rig = await GatewayRig.start();
    rig.putSession("a");
    const target = `127.0.0.1:${rig.gateway?.port ?? 0}`;
    const proxy = await startTlsProxy(folder, { target, idleSeconds: IDLE_SECONDS });
    const host = await NodeHostProcess.make();
    const { env } = proxy;
    const gateway = { url: rig.url, token: ADMIN };
    try {
      await pair(gateway, host, { nodeId: "laptop", session: "a", url: proxy.url, env });
      host.start(["run"], env);
      await connected(gateway, "laptop", "a");
      await delay((IDLE_SECONDS + 10) * 1000);
      const client = await clientOf(gateway, "a");
      const run = { node: "laptop", command: "system.run", params: { argv: ["echo", "hi"] } };
      expect(await client.request("argus/node/invoke", run)).toMatchObject({
        payload: { stdout: "hi\n" },
      });
      await client.close();
      expect(host.stderr.match(/connected to the gateway"/g)).toHaveLength(1);
      expect(host.stderr).not.toContain("trying again");
    } finally {
      await host.remove();
      proxy.stop();
      await rig.stop();
      await rm(folder, { recursive: true });
    }
  },
  120_000,
);
