import { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import { acceptEvent } from "../../accept-event.ts";
import type { GatewayContext } from "../../context.ts";
import { failure, type ToolResult, tool } from "../tool.ts";

const Input = z.strictObject({
  action: z.enum(["status", "list", "add", "update", "remove", "run"]),
  sessionId: z.string().optional(),
  includeDisabled: z.boolean().optional(),
  jobId: z.string().optional(),
  expr: z.string().min(1).max(128).optional(),
  text: z.string().min(1).max(16_384).optional(),
  enabled: z.boolean().nullish(),
  timeZone: z.string().max(64).optional(),
});
type Input = z.infer<typeof Input>;

/** `cron`: the session's own schedules. */
export const cron = tool({
  name: "cron",
  title: "Schedules",
  description:
    "Schedules that wake this session: each slot of `expr` (5 fields, or 6 with seconds first; zone `timeZone`, default UTC) tells it `text`. add, update and remove change only schedules made by this tool.",
  input: Input,
  run: async (args, { context, session, callId }) => {
    const { name } = session.metadata;
    if (args.sessionId !== undefined && args.sessionId !== name) {
      return failure("UNSUPPORTED", `Only the schedules of ${name} can be used.`, {
        defaultSessionId: name,
      });
    }
    const result = await ACTIONS[args.action](args, { context, session, callId });
    return { structured: { ok: true, sessionId: name, ...result } };
  },
});

interface Caller {
  context: GatewayContext;
  session: ArgusSession;
  callId: string;
}
type Action = (args: Input, caller: Caller) => Promise<ToolResult["structured"]>;

const ACTIONS: Record<Input["action"], Action> = {
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
