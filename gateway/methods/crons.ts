import { randomUUID } from "node:crypto";
import { z } from "zod";
import { CRON_ACTIONS, type CronAction, CronArguments, cronActions } from "../cron-actions.ts";
import type { CallerMethod } from "./method.ts";
import { namedSession } from "./named-session.ts";

const Params = CronArguments.extend({
  session: z.string().min(1).max(253).optional(),
  /** Of `argus/cron/run`: a repeat with the same key is the same run. */
  key: z.string().min(1).max(200).optional(),
});

/** `argus/cron/status`, `list`, `add`, `update`, `remove`, `run`: what the agent's `cron` tool does, for the session's clients. */
export const cronMethods: Record<string, CallerMethod> = Object.fromEntries(
  CRON_ACTIONS.map((action) => [`argus/cron/${action}`, methodOf(action)]),
);

function methodOf(action: CronAction): CallerMethod {
  return async (caller, params) => {
    const { session: name, key, ...args } = Params.parse(params);
    const session = await namedSession(caller, name);
    const { context } = caller;
    const callId = key === undefined ? randomUUID() : `client/${args.jobId}/${key}`;
    const result = await cronActions[action](args, { context, session, callId });
    return { ok: true, sessionId: session.metadata.name, ...result };
  };
}
