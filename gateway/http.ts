import type { AddressInfo } from "node:net";
import fastify from "fastify";
import type { Listening } from "#lib/running.ts";
import type { GatewayOptions } from "./options.ts";

/** The listener and its plain routes. */
export async function startHttp(options: GatewayOptions, signal: AbortSignal): Promise<Listening> {
  const app = fastify({ logger: false });
  app.get("/healthz", () => ({ ok: true }));
  await app.listen({ host: options.host, port: options.port });
  const { address, port } = app.server.address() as AddressInfo;
  const closed = new Promise<void>((resolve, reject) => {
    signal.addEventListener("abort", () => app.close().then(resolve, reject), { once: true });
  });
  return { host: address, port, closed };
}
