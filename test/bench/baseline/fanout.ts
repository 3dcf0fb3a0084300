// Frozen: see README.md. Usage: node fanout.ts PORT UPSTREAM_PORT
import { connect, type Socket } from "node:net";
import { WebSocketServer } from "ws";

const [port, upstreamPort] = process.argv.slice(2).map(Number);
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: port ?? 0,
  perMessageDeflate: false,
});
let upstream: Socket | undefined;

function open(): Socket {
  const socket = connect(upstreamPort ?? 0, "127.0.0.1");
  let partial: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      partial.push(chunk.subarray(from, at));
      const message = JSON.parse(Buffer.concat(partial).toString());
      partial = [];
      for (const client of server.clients) client.send(JSON.stringify(message));
      from = at + 1;
    }
    if (from < chunk.length) partial.push(chunk.subarray(from));
    let waiting = 0;
    for (const client of server.clients) waiting = Math.max(waiting, client.bufferedAmount);
    if (waiting < 4 * 1024 * 1024) return;
    socket.pause();
    const look = setInterval(() => {
      for (const client of server.clients) if (client.bufferedAmount > 1024 * 1024) return;
      clearInterval(look);
      socket.resume();
    }, 1);
  });
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    if (upstream !== socket) return;
    upstream = undefined;
    for (const client of server.clients) client.terminate();
  });
  return socket;
}

server.on("connection", (client) => {
  const others = [...server.clients].filter(({ readyState }) => readyState === client.OPEN);
  // The first of a new run: what is left of the last one may still be paused.
  if (others.length === 1) {
    const old = upstream;
    upstream = undefined;
    old?.destroy();
  }
  upstream ??= open();
  client.on("message", (data) =>
    upstream?.write(`${JSON.stringify(JSON.parse(data.toString()))}\n`),
  );
  client.on("error", () => client.terminate());
});
