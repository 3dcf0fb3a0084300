import { z } from "zod";
import type { Adapter } from "#channel/adapter.ts";
import { ArgusError } from "#lib/errors.ts";
import { type AdmitResult, CHANNEL } from "#protocol/channel.ts";
import type { Saying, Talk } from "../outbound/talk.ts";
import { COMMANDS, helpWords, WORDS } from "../words.ts";
import type { Inbound } from "./message.ts";
import { approve, nodes, sessions } from "./owner-commands.ts";

export interface CommandOptions {
  adapter: Adapter;
  talk: Talk;
  owners: string[];
  members: string[];
  /** Where devices find the gateway; undefined = not known here. */
  joinUrl: string | undefined;
}

type Allowed = Extract<AdmitResult, { state: "allowed" }>;
/** What the command answers. */
type Command = (
  message: Inbound,
  verdict: Allowed,
  options: CommandOptions,
) => Promise<string | Saying>;

const RUN: Record<(typeof COMMANDS)[number]["command"] | "start", Command> = {
  start: async ({ isGroup }) => (isGroup ? WORDS.groupReady : WORDS.welcome),
  help: async () => helpWords(),
  new: fresh,
  stop,
  status,
  where,
  cron,
  heartbeat,
  sessions,
  nodes,
  approve,
};

/** False: it is none of the bot's commands, and the agent gets it as text. */
export async function runCommand(
  message: Inbound,
  verdict: Allowed,
  options: CommandOptions,
): Promise<boolean> {
  const { name = "" } = message.command ?? {};
  if (!Object.hasOwn(RUN, name)) return false;
  const words = await RUN[name as keyof typeof RUN](message, verdict, options);
  await options.talk.answer(message, words);
  return true;
}

async function call<T>(
  { adapter }: CommandOptions,
  { chatKey }: Inbound,
  asked: { method: string; params?: Record<string, unknown>; result: z.ZodType<T> },
): Promise<T> {
  const { method, params = {}, result } = asked;
  return await adapter.ask(CHANNEL.call, { chatKey, method, params }, result);
}

async function fresh(message: Inbound, _: Allowed, options: CommandOptions): Promise<string> {
  // The update may come again: the same command begins no second conversation.
  const params = { key: `telegram:${message.key}` };
  await call(options, message, { method: "argus/thread/main/reset", params, result: z.unknown() });
  return WORDS.fresh;
}

async function stop(message: Inbound, _: Allowed, options: CommandOptions): Promise<string> {
  try {
    await call(options, message, { method: "argus/turn/cancel", result: z.unknown() });
    return WORDS.stopping;
  } catch (error) {
    if (error instanceof ArgusError && error.code === "InvalidInput") return WORDS.nothingRuns;
    throw error;
  }
}

const Facts = z.object({
  session: z.object({
    name: z.string(),
    title: z.string().nullish(),
    mainThreadId: z.string().nullable(),
    turn: z.object({ startedAtMs: z.int() }).nullable(),
    waitingMessages: z.int(),
    waitingEvents: z.int(),
    waitingReplies: z.int(),
    waitsFor: z.string(),
  }),
});

async function facts(message: Inbound, options: CommandOptions) {
  return (await call(options, message, { method: "argus/session/get", result: Facts })).session;
}

async function status(message: Inbound, _: Allowed, options: CommandOptions): Promise<string> {
  const { turn, waitsFor, waitingMessages, waitingEvents } = await facts(message, options);
  const seconds = turn ? Math.max(0, Math.round((Date.now() - turn.startedAtMs) / 1000)) : 0;
  const lines = [
    turn ? `I have been at work for ${seconds} s${waitsFor ? `: ${waitsFor}` : ""}.` : "I am free.",
    turn || waitsFor === "" ? "" : `What waits, waits for: ${waitsFor}.`,
    waitingMessages > 0 ? `Messages that wait: ${waitingMessages}.` : "",
    waitingEvents > 0 ? `Events that wait: ${waitingEvents}.` : "",
  ];
  return lines.filter(Boolean).join("\n");
}

async function where(message: Inbound, _: Allowed, options: CommandOptions): Promise<string> {
  const { name, title, mainThreadId } = await facts(message, options);
  return [
    `sessionId: ${name}${title ? ` (${title})` : ""}`,
    `chatKey: ${message.chatKey}`,
    `threadId: ${mainThreadId ?? "(none)"}`,
  ].join("\n");
}

const Jobs = z.object({
  jobs: z.array(
    z.object({ expr: z.string(), text: z.string(), timeZone: z.string(), enabled: z.boolean() }),
  ),
});

async function cron(message: Inbound, _: Allowed, options: CommandOptions): Promise<string> {
  const { jobs } = await call(options, message, { method: "argus/cron/list", result: Jobs });
  if (jobs.length === 0) return "No schedules. Ask me to do something every morning, for example.";
  const line = ({ expr, text, timeZone, enabled }: (typeof jobs)[number]) =>
    `${enabled ? "•" : "◦ (off)"} ${expr} (${timeZone}): ${text.slice(0, 100)}`;
  return jobs.slice(0, 30).map(line).join("\n");
}

async function heartbeat(message: Inbound, _: Allowed, options: CommandOptions): Promise<string> {
  await call(options, message, { method: "argus/heartbeat/request", result: z.unknown() });
  return "I look at HEARTBEAT.md as soon as I am free. You hear from me if something needs you.";
}
