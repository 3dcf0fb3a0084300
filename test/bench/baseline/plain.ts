// Frozen: see README.md. Usage: node plain.ts PORT UPSTREAM_PORT
import { createServer } from "node:http";
import { connect } from "node:net";
import { WebSocketServer } from "ws";

const HIGH = 1024 * 1024;
const NEWLINE = Buffer.from("\n");
const [port, upstreamPort] = process.argv.slice(2).map(Number);
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const server = createServer();
server.on("upgrade", (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (client) => {
    const upstream = connect({ port: upstreamPort ?? 0, host: "127.0.0.1", noDelay: true });
    let partial: Buffer[] = [];
    upstream.on("data", (chunk: Buffer) => {
      socket.cork();
      let from = 0;
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
        let line = chunk.subarray(from, at);
        if (partial.length > 0) {
          partial.push(line);
          line = Buffer.concat(partial);
          partial = [];
        }
        client.send(line, { binary: false, compress: false });
        from = at + 1;
      }
      if (from < chunk.length) partial.push(chunk.subarray(from));
      socket.uncork();
      if (client.bufferedAmount > HIGH) upstream.pause();
    });
    socket.on("drain", () => upstream.resume());
    client.on("message", (data: Buffer) => {
      upstream.cork();
      upstream.write(data);
      const free = upstream.write(NEWLINE);
      process.nextTick(() => upstream.uncork());
      if (!free) client.pause();
    });
    upstream.on("drain", () => client.resume());
    client.on("close", () => upstream.destroy());
    client.on("error", () => upstream.destroy());
    upstream.on("close", () => client.close());
    upstream.on("error", () => client.close());
  });
});
server.listen(port ?? 0, "127.0.0.1");
