import type { FastifyInstance } from "fastify";
import type { GatewayContext } from "../context.ts";
import { requestHeartbeat } from "../lanes/heartbeat.ts";
import { sessionFor } from "./cron-jobs.ts";

/** The seed's endpoint: a heartbeat as soon as the lane is free. `?session=` names a session, else the token's own or `main`. */
export function heartbeatRoutes(app: FastifyInstance, context: () => GatewayContext): void {
  app.post("/automation/heartbeat/now", async (request) => {
    const session = await sessionFor(request, context());
    const lane = await context().lanes.of(session);
    await lane.state.update(requestHeartbeat);
    lane.wake();
    return { ok: true, sessionId: session.metadata.name };
  });
}
