import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";

/** A bridge at an address of its own that greets whoever comes; its turns are ended by the bench. */
export async function startBridge(
  listen: string,
  greeting: unknown,
): Promise<{ lane: LaneBridge; stop: () => Promise<void> }> {
  const lane = new LaneBridge();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
    socket.setNoDelay(true);
    const lines = createInterface({ input: socket });
    lines.once("line", (line) => {
      lines.close();
      const { id, params } = JSON.parse(line) as { id: number; params: { role: string } };
      socket.write(`${JSON.stringify({ id, result: greeting })}\n`);
      lane.onPeer({ socket, hello: { token: "", ...params } });
    });
  });
  const [host = "", port = ""] = listen.split(":");
  server.listen(Number(port), host);
  await once(server, "listening");
  const stop = async () => {
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { lane, stop };
}
