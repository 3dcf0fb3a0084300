import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { generate } from "selfsigned";
import { expect, test } from "vitest";
import { clientOf, connected, pair } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";

function isThere(): boolean {
  try {
    execFileSync("haproxy", ["-v"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Cuts connections without traffic after 20 s; the usual proxies do it after 60 s. */
const IDLE_SECONDS = 20;

async function startProxy(folder: string, target: number) {
  const names = [{ type: 2 as const, value: "localhost" }];
  const { private: key, cert } = await generate([{ name: "commonName", value: "localhost" }], {
    extensions: [{ name: "subjectAltName", altNames: names }],
  });
  await writeFile(join(folder, "both.pem"), key + cert);
  await writeFile(join(folder, "ca.pem"), cert);
  const port = await freePort();
  const config = `
defaults
  mode http
  timeout connect 5s
  timeout client ${IDLE_SECONDS}s
  timeout server ${IDLE_SECONDS}s
  timeout tunnel ${IDLE_SECONDS}s
frontend tls
  bind 127.0.0.1:${port} ssl crt ${join(folder, "both.pem")}
  http-request set-header X-Forwarded-Proto https
  default_backend gateway
backend gateway
  server gateway 127.0.0.1:${target}
`;
  await writeFile(join(folder, "haproxy.cfg"), config);
  const child: ChildProcess = spawn("haproxy", ["-db", "-f", join(folder, "haproxy.cfg")], {
    stdio: "ignore",
  });
  await eventually("the proxy listens", () => reachable(port));
  return { port, stop: () => child.kill() };
}

const reachable = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0));
    });
  });

test.skipIf(!isThere())(
  "a device joins through a TLS proxy and stays, though the proxy cuts idle connections",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "argus-tls-"));
    const rig = await GatewayRig.start();
    rig.putSession("a");
    const proxy = await startProxy(folder, rig.gateway?.port ?? 0);
    const host = await NodeHostProcess.make();
    const env = { NODE_EXTRA_CA_CERTS: join(folder, "ca.pem") };
    const gateway = { url: rig.url, token: ADMIN };
    try {
      const outside = { url: `https://localhost:${proxy.port}`, token: ADMIN };
      await pair(gateway, host, { nodeId: "laptop", session: "a", url: outside.url, env });
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
