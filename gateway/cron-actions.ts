import { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import { acceptEvent } from "./accept-event.ts";
import type { GatewayContext } from "./context.ts";

// What a session's agent (the cron tool) and its clients (argus/cron/*) do with its schedules.

export const CRON_ACTIONS = ["status", "list", "add", "update", "remove", "run"] as const;
export type CronAction = (typeof CRON_ACTIONS)[number];

export const CronArguments = z.object({
  includeDisabled: z.boolean().optional(),
  jobId: z.string().optional(),
  expr: z.string().min(1).max(128).optional(),
  text: z.string().min(1).max(16_384).optional(),
  enabled: z.boolean().nullish(),
  timeZone: z.string().max(64).optional(),
});
export type CronArguments = z.infer<typeof CronArguments>;

export interface CronCaller {
  context: GatewayContext;
  session: ArgusSession;
  /** Of this call: its repeat is the same run. */
  callId: string;
}
type Action = (args: CronArguments, caller: CronCaller) => Promise<Record<string, unknown>>;

export const cronActions: Record<CronAction, Action> = {
  status: async (_, { context, session }) => {
    const jobs = await context.crons.list(session);
    const due = jobs.flatMap(({ nextRunAtMs }) => (nextRunAtMs === undefined ? [] : [nextRunAtMs]));
    return {
      defaultSessionId: session.metadata.name,
      jobs: jobs.length,
      enabledJobs: jobs.filter(({ enabled }) => enabled).length,
      nextDueAtMs: due.length > 0 ? Math.min(...due) : null,
    };
  },
  list: async ({ includeDisabled }, { context, session }) => {
    const jobs = await context.crons.list(session);
    return { jobs: jobs.filter(({ enabled }) => enabled || includeDisabled === true) };
  },
  add: async ({ jobId, expr, text, enabled, timeZone }, { context, session }) => {
    const wanted = { jobId, expr: need("expr", expr), text: need("text", text), timeZone };
    return { job: await context.crons.put(session, { ...wanted, enabled: enabled ?? true }) };
  },
  update: async ({ jobId, expr, text, enabled, timeZone }, { context, session }) => {
    const change = { expr, text, enabled: enabled ?? undefined, timeZone };
    if (Object.values(change).every((value) => value === undefined)) {
      throw new ArgusError("InvalidInput", "Give at least one of expr, text, enabled, timeZone.");
    }
    return { job: await context.crons.update(session, need("jobId", jobId), change) };
  },
  remove: async ({ jobId }, { context, session }) => {
    await context.crons.remove(session, need("jobId", jobId));
    return { jobId };
  },
  run: async ({ jobId }, { context, session, callId }) => {
    const { metadata, spec } = await context.crons.find(session, need("jobId", jobId));
    await acceptEvent(await context.lanes.of(session), {
      key: `run/${callId}`.slice(0, 512),
      kind: "cron",
      text: spec.event.text,
      meta: { jobId, expr: spec.schedule, manual: true },
      wakes: true,
      concurrencyPolicy: "Allow",
      source: { name: metadata.name, uid: metadata.uid ?? metadata.name },
    });
    return { jobId, enqueued: true };
  },
};

function need(field: string, value: string | undefined): string {
  if (value !== undefined) return value;
  throw new ArgusError("InvalidInput", `${field} is missing`, { field });
}
