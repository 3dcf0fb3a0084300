import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import type { GatewayContext } from "../context.ts";
import { firstIssue } from "../routes.ts";
import { reporter, sessionOf } from "./events.ts";

const Job = z.object({
  expr: z.string({ error: "Missing 'expr'" }).min(1).max(128),
  text: z.string({ error: "Missing 'text'" }).min(1).max(16_384),
  enabled: z.boolean().default(true),
  jobId: z.string().optional(),
  timeZone: z.string().max(64).optional(),
});

/** The seed's endpoints for schedules; `?session=` names a session, else the token's own or `main`. */
export function cronJobRoutes(app: FastifyInstance, context: () => GatewayContext): void {
  const path = "/automation/cron/jobs";
  app.get(path, async (request) => {
    const session = await sessionFor(request, context());
    const jobs = await context().crons.list(session);
    return { ok: true, sessionId: session.metadata.name, jobs };
  });
  app.post(path, async (request) => {
    const session = await sessionFor(request, context());
    const wanted = Job.safeParse(request.body ?? {});
    if (!wanted.success) throw new ArgusError("InvalidInput", firstIssue(wanted.error));
    const job = await context().crons.put(session, wanted.data);
    return { ok: true, sessionId: session.metadata.name, job };
  });
  app.delete<{ Params: { id: string } }>(`${path}/:id`, async (request) => {
    const session = await sessionFor(request, context());
    const { id } = request.params;
    await context().crons.remove(session, id);
    return { ok: true, sessionId: session.metadata.name, jobId: id };
  });
}

/** The session that the request means. Throws as {@link sessionOf}. */
export async function sessionFor(request: FastifyRequest, context: GatewayContext) {
  const principal = await reporter(request, context);
  const query = new URL(request.raw.url ?? "/", "http://gateway").searchParams;
  return await sessionOf(principal, query.get("session") ?? undefined, context);
}
