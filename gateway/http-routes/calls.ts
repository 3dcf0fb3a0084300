import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { CALL_PATH, CallRequest } from "#protocol/client.ts";
import { badParams, methodNamed } from "../argus-methods.ts";
import type { GatewayContext } from "../context.ts";
import { firstIssue, tokenOf } from "../routes.ts";
import { sessionOf } from "./events.ts";

/** Any `argus/*` method as one request, for programs that need no connection of their own. Answers `{"result"}`. */
export function callRoutes(app: FastifyInstance, context: () => GatewayContext): void {
  app.post(CALL_PATH, async (request) => ({ result: await call(request, context()) }));
}

async function call(request: FastifyRequest, context: GatewayContext): Promise<unknown> {
  const credential = await context.auth.person(tokenOf(request));
  if (credential.state !== "valid") throw new ArgusError("Unauthorized", "Unauthorized");
  const { principal } = credential;
  const wanted = CallRequest.safeParse(request.body ?? {});
  if (!wanted.success) throw new ArgusError("InvalidInput", firstIssue(wanted.error));
  const { method, params, session } = wanted.data;
  const run = methodNamed(method);
  if (!run) throw new ArgusError("NotFound", `Method not found: ${method}`);
  const named = () => sessionOf(principal, session, context);
  try {
    return await run({ context, principal, session: named }, params);
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    throw new ArgusError("InvalidInput", badParams(error));
  }
}
