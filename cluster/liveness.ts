import type { Socket } from "node:net";
import type { buildConnector } from "undici";

/** Looks without a new byte before a connection counts as dead; a ping is answered within each but the first. */
const MAX_SILENT_LOOKS = 3;

/**
 * The same connector, whose HTTP/2 connections end when the peer answers no pings: undici sends them and waits for ever, and
 * a request that is given up leaves the next one on the same dead connection. HTTP/1.1 has no pings and needs none of this:
 * giving a request up ends its connection.
 */
export function lively(
  connect: buildConnector.connector,
  pingIntervalMs: number,
  onConnected: (http2: boolean) => void = () => undefined,
): buildConnector.connector {
  return (options, done) =>
    connect(options, (...answer) => {
      const [, socket] = answer;
      if (socket) {
        const http2 = "alpnProtocol" in socket && socket.alpnProtocol === "h2";
        onConnected(http2);
        if (http2) watchOver(socket, pingIntervalMs);
      }
      done(...answer);
    });
}

/** Counts looks, not time: a process that was stopped has not listened. */
function watchOver(socket: Socket, intervalMs: number): void {
  let seen = -1;
  let silent = 0;
  const timer = setInterval(() => {
    silent = socket.bytesRead === seen ? silent + 1 : 0;
    seen = socket.bytesRead;
    if (silent < MAX_SILENT_LOOKS) return;
    socket.destroy(new Error(`no answer to pings for ${silent * intervalMs} ms`));
  }, intervalMs);
  timer.unref();
  socket.once("close", () => clearInterval(timer));
}
