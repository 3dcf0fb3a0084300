// Frozen: see README.md. Usage: node naive.ts PORT UPSTREAM_PORT
import { connect } from "node:net";
import { WebSocketServer } from "ws";

const [port, upstreamPort] = process.argv.slice(2).map(Number);
const server = new WebSocketServer({ host: "127.0.0.1", port: port ?? 0 });
server.on("connection", (client) => {
  const upstream = connect(upstreamPort ?? 0, "127.0.0.1");
  let buf = "";
  upstream.on("data", (chunk) => {
    buf += chunk.toString();
    const lines = buf.split("\n");
    buf = lines.pop() ?? "";
    for (const line of lines) client.send(JSON.stringify(JSON.parse(line)));
  });
  client.on("message", (data) => {
    upstream.write(`${JSON.stringify(JSON.parse(data.toString()))}\n`);
  });
  client.on("close", () => upstream.destroy());
  client.on("error", () => upstream.destroy());
  upstream.on("close", () => client.close());
  upstream.on("error", () => client.close());
});
