import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startHttp } from "#gateway/http.ts";
import { silentLogger } from "#lib/logger.ts";
import { ADMIN, GatewayRig, NAMESPACE } from "#test/support/gateway.ts";

/** Peers without a token must neither end the gateway nor stay in it. */
let rig: GatewayRig;
const sockets: Socket[] = [];

beforeEach(async () => {
  rig = await GatewayRig.start();
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await rig.stop();
});

const upgradeOf = (target: string) =>
  `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`;

/** Never closes its own end. */
function dial(port = rig.gateway?.port ?? 0): Socket {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  sockets.push(socket);
  return socket.on("error", () => {});
}

async function answerTo(socket: Socket, request: string): Promise<string> {
  socket.write(request);
  const chunk = await Promise.race([
    once(socket, "data").then(([bytes]) => String(bytes)),
    once(socket, "close").then(() => "closed without an answer"),
  ]);
  return chunk.split("\r\n")[0] ?? "";
}

test.each(["//", "//?token=x", "http://["])(
  "an upgrade to the target %s is refused and harms nobody",
  async (target) => {
    expect(await answerTo(dial(), upgradeOf(target))).toMatch(/^HTTP\/1.1 4/);
    expect((await fetch(`${rig.url}/healthz`)).status).toBe(200);
  },
  10_000,
);

test("a refused upgrade whose peer never closes its end is let go", async () => {
  const peer = dial();
  expect(await answerTo(peer, upgradeOf("/elsewhere"))).toMatch(/404/);
  // Only a reset tells that the other side has given up the whole connection.
  const reset = new Promise((resolve) => peer.once("close", resolve));
  const poke = setInterval(() => peer.write("x"), 100);
  await reset.finally(() => clearInterval(poke));
}, 10_000);

test("a peer that resets before the gateway serves does not end it", async () => {
  const options = {
    host: "127.0.0.1",
    port: 0,
    namespace: NAMESPACE,
    stateFolder: "",
    adminToken: ADMIN,
    kube: rig.kube,
    model: { upstream: "" },
    sessionTemplate: {},
    logger: silentLogger(),
  };
  const http = await startHttp(options, () => ["the store"]);
  for (let n = 0; n < 20; n += 1) {
    const peer = dial(http.port);
    await once(peer, "connect");
    peer.write(upgradeOf("/ws"));
    peer.resetAndDestroy();
  }
  expect(await answerTo(dial(http.port), upgradeOf("/ws"))).toMatch(/503/);
  await http.close();
}, 10_000);
