import { z } from "zod";
import { CRON_ACTIONS, CronArguments, cronActions } from "../../cron-actions.ts";
import { failure, tool } from "../tool.ts";

const Input = z.strictObject({
  action: z.enum(CRON_ACTIONS),
  sessionId: z.string().optional(),
  ...CronArguments.shape,
});

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
    const result = await cronActions[args.action](args, { context, session, callId });
    return { structured: { ok: true, sessionId: name, ...result } };
  },
});
