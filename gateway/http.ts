import type { IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import fastify, { type FastifyInstance } from "fastify";
import { ArgusError } from "#lib/errors.ts";
import type { GatewayContext } from "./context.ts";
import { callRoutes } from "./http-routes/calls.ts";
import { cronJobRoutes } from "./http-routes/cron-jobs.ts";
import { eventRoutes } from "./http-routes/events.ts";
import { heartbeatRoutes } from "./http-routes/heartbeat.ts";
import { nodeHostRoutes, nodeRoutes } from "./http-routes/nodes.ts";
import { stateRoutes } from "./http-routes/state.ts";
import { webhookRoutes } from "./http-routes/webhooks.ts";
import { mcpRoutes } from "./mcp/routes.ts";
import { mcpServerRoutes } from "./mcp/servers.ts";
import { modelProxy } from "./model-proxy.ts";
import { NODES_PATH } from "./nodes/door.ts";
import type { GatewayOptions } from "./options.ts";
import { adminRoutes, cors, errorAnswers, publicRoutes } from "./routes.ts";
import { endUpgrade, upgrade } from "./upgrade.ts";

const MAX_BODY_BYTES = 1024 * 1024;

export interface HttpServer {
  host: string;
  port: number;
  /** From now on clients are served. */
  serve(context: GatewayContext): void;
  close(): Promise<void>;
}

/** Listens at once, so that probes are answered; everything else is refused with 503 until `serve`. */
export async function startHttp(
  options: GatewayOptions,
  waitsFor: () => string[],
): Promise<HttpServer> {
  let context: GatewayContext | undefined;
  const ready = () => {
    if (context) return context;
    throw new ArgusError("Unavailable", `The gateway starts: ${waitsFor().join("; ")}`);
  };
  // A request line may hold a token: fastify's own log stays off.
  const app = fastify({ logger: false, bodyLimit: MAX_BODY_BYTES, forceCloseConnections: true });
  errorAnswers(app, options.logger);
  cors(app, options.corsOrigins ?? []);
  // Between two waits the list is empty for a moment, and still nobody is served.
  publicRoutes(app, () => (context ? waitsFor() : [...waitsFor(), "the gateway starts"]));
  adminRoutes(app, ready);
  eventRoutes(app, ready);
  webhookRoutes(app, ready);
  cronJobRoutes(app, ready);
  heartbeatRoutes(app, ready);
  callRoutes(app, ready);
  nodeRoutes(app, ready);
  nodeHostRoutes(app, options.nodeHostFile ?? (() => Promise.resolve(undefined)));
  stateRoutes(app, ready);
  const { adminToken: secret, corsOrigins: origins = [] } = options;
  mcpRoutes(app, ready, { secret, origins });
  const closeProxy = modelProxy(app, ready, options.model);
  const closeServers = mcpServerRoutes(app, ready);
  app.server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (!context) endUpgrade(socket, "503 Service Unavailable\r\nRetry-After: 1");
    else if (request.url?.split("?")[0] === NODES_PATH)
      void context.nodes.door.upgrade(request, { socket, head });
    else upgrade(context, request, { socket, head });
  });
  const { address, port } = await listen(app, options);
  return {
    host: address,
    port,
    serve: (next) => {
      context = next;
    },
    close: async () => {
      await app.close();
      await closeProxy();
      await closeServers();
    },
  };
}

async function listen(app: FastifyInstance, { host, port }: GatewayOptions): Promise<AddressInfo> {
  await app.listen({ host, port });
  return app.server.address() as AddressInfo;
}
