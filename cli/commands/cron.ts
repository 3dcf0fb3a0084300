import { z } from "zod";
import { findGateway } from "../client.ts";
import type { Environment } from "../config.ts";
import { say } from "../say.ts";
import { table } from "../table.ts";
import { callSession } from "./session-call.ts";

export interface CronCommand {
  session?: string;
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

/** What a schedule has; absent = as it is. */
export interface JobOptions {
  expr?: string;
  text?: string;
  timeZone?: string;
  enabled?: boolean;
}

const Job = z.looseObject({
  jobId: z.string(),
  expr: z.string(),
  text: z.string(),
  enabled: z.boolean(),
  timeZone: z.string(),
  managed: z.boolean(),
  lastRunAtMs: z.number().optional(),
  nextRunAtMs: z.number().optional(),
  lastState: z.string().optional(),
});
const Made = z.object({ job: Job });

export async function list(command: CronCommand & { json?: boolean }): Promise<number> {
  const result = z.object({ jobs: z.array(Job) });
  const { jobs } = await ask(command, "list", { includeDisabled: true }, result);
  if (command.json) return say(JSON.stringify(jobs, undefined, 2));
  if (jobs.length === 0) return say("this session has no schedule: `argus cron add` makes one");
  const time = (at: number | undefined) => (at === undefined ? "-" : new Date(at).toISOString());
  const cells = jobs.map((job) => [
    job.jobId,
    job.expr,
    job.timeZone,
    job.enabled ? "on" : "off",
    time(job.nextRunAtMs),
    `${time(job.lastRunAtMs)} ${job.lastState ?? ""}`.trim(),
    job.managed ? "gateway" : "kubectl",
    job.text,
  ]);
  const header = ["ID", "SCHEDULE", "ZONE", "STATE", "NEXT", "LAST", "CHANGED BY", "TEXT"];
  return say(table(header, cells).trimEnd());
}

export async function add(
  command: CronCommand & JobOptions & { expr: string; text: string; id?: string },
): Promise<number> {
  const { id: jobId, ...rest } = command;
  const { job } = await ask(command, "add", { ...jobOf(rest), ...(jobId ? { jobId } : {}) }, Made);
  return say(`schedule ${job.jobId} made: ${job.expr} (${job.timeZone})`);
}

export async function update(command: CronCommand & JobOptions & { id: string }): Promise<number> {
  const { job } = await ask(command, "update", { ...jobOf(command), jobId: command.id }, Made);
  const state = job.enabled ? "" : ", off";
  return say(`schedule ${job.jobId} changed: ${job.expr} (${job.timeZone})${state}`);
}

export async function remove(command: CronCommand & { id: string }): Promise<number> {
  await ask(command, "remove", { jobId: command.id }, z.unknown());
  return say(`schedule ${command.id} removed`);
}

export async function run(command: CronCommand & { id: string }): Promise<number> {
  await ask(command, "run", { jobId: command.id }, z.unknown());
  return say(`schedule ${command.id} runs now: \`argus events list --all\` shows its event`);
}

function jobOf({ expr, text, timeZone, enabled }: JobOptions): JobOptions {
  return {
    ...(expr === undefined ? {} : { expr }),
    ...(text === undefined ? {} : { text }),
    ...(timeZone === undefined ? {} : { timeZone }),
    ...(enabled === undefined ? {} : { enabled }),
  };
}

async function ask<T>(
  { session, ...command }: CronCommand,
  action: string,
  params: object,
  result: z.ZodType<T>,
): Promise<T> {
  const call = { session, method: `argus/cron/${action}`, params, result };
  return await callSession(findGateway(command), call);
}
