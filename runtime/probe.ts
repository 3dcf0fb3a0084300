import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Listening } from "#lib/running.ts";
import type { BridgeStatus } from "#protocol/bridge.ts";

export interface ProbeOptions {
  host: string;
  /** 0 = any free port. */
  port: number;
  status: () => BridgeStatus;
  ready: () => { ok: boolean; reason: string };
}

/** Anybody who reaches the pod may ask; so few connections, small requests, short times. */
const LIMITS = {
  maxHeaderSize: 4096,
  headersTimeout: 5000,
  requestTimeout: 5000,
  keepAliveTimeout: 5000,
  connectionsCheckingInterval: 5000,
};
const MAX_CONNECTIONS = 32;

/** Serves `GET /livez`, `/readyz` (200, or 503 with the reason) and `/status`; all read-only, anything else is 404. */
export async function startProbe(options: ProbeOptions, signal: AbortSignal): Promise<Listening> {
  const server = createServer(LIMITS, (request, response) => {
    request.resume();
    const path = request.method === "GET" ? request.url?.split("?")[0] : undefined;
    answer(options, path ?? "", response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(options.port, options.host);
  await once(server, "listening", { signal });
  const closed = once(server, "close").then(() => undefined);
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port, closed };
}

function answer(options: ProbeOptions, path: string, response: ServerResponse): void {
  switch (path) {
    case "/livez":
      return send(response, 200, "ok\n");
    case "/readyz": {
      const { ok, reason } = options.ready();
      return send(response, ok ? 200 : 503, ok ? "ok\n" : `${reason}\n`);
    }
    case "/status":
      return send(response, 200, JSON.stringify(options.status()), "application/json");
    default:
      return send(response, 404, "not found\n");
  }
}

function send(response: ServerResponse, status: number, body: string, type = "text/plain"): void {
  response.writeHead(status, {
    "content-type": `${type}; charset=utf-8`,
    "content-length": Buffer.byteLength(body),
  });
  response.end(body);
}
