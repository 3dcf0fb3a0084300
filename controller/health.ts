import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import type { Listening } from "#lib/running.ts";

export interface HealthOptions {
  host: string;
  /** 0 = any free port. */
  port: number;
  /** Why the process is not ready, one sentence each; empty = ready. */
  unready: () => string[];
  registry: Registry;
}

/** Serves /livez (the event loop turns), /readyz (with the reasons when not) and /metrics. */
export async function startHealth(options: HealthOptions, signal: AbortSignal): Promise<Listening> {
  const server = createServer((request, response) => {
    void answer(request.url ?? "/", response, options).catch(() => response.destroy());
  });
  server.requestTimeout = 10_000;
  server.listen(options.port, options.host);
  await once(server, "listening", { signal });
  const { port } = server.address() as AddressInfo;
  return { host: options.host, port, closed: closing(server, signal) };
}

async function answer(
  url: string,
  response: ServerResponse,
  { unready, registry }: HealthOptions,
): Promise<void> {
  const [path] = url.split("?");
  if (path === "/livez") return text(response, 200, "ok\n");
  if (path === "/readyz") {
    const reasons = unready();
    return text(response, reasons.length > 0 ? 503 : 200, `${reasons.join("\n") || "ok"}\n`);
  }
  if (path === "/metrics") {
    response.setHeader("content-type", registry.contentType);
    response.end(await registry.metrics());
    return;
  }
  text(response, 404, "paths: /livez /readyz /metrics\n");
}

function text(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(body);
}

async function closing(server: Server, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}
