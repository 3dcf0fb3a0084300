import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { type AdmitResult, ApproveResult, CHANNEL, SwitchResult } from "#protocol/channel.ts";
import type { Saying } from "../outbound/talk.ts";
import type { CommandOptions } from "./commands.ts";
import type { Inbound } from "./message.ts";

// Commands about more than the chat's own conversation: its session, devices, and who may come in.

type Allowed = Extract<AdmitResult, { state: "allowed" }>;

/** Lines of a list. */
const MAX_ROWS = 30;
const MAX_BUTTONS = 8;
/** Telegram takes 64 bytes of a button. */
const MAX_BUTTON_NAME = 58;

const Sessions = z.object({
  sessions: z.array(
    z.object({
      name: z.string(),
      title: z.string().optional(),
      status: z.string(),
      ready: z.boolean(),
      message: z.string(),
    }),
  ),
});

/** `/sessions` and, for owners, `/sessions NAME`. */
export async function sessions(
  message: Inbound,
  { role, sessionId }: Allowed,
  options: CommandOptions,
): Promise<Saying | string> {
  const [wanted] = (message.command?.words ?? "").split(/\s+/).filter(Boolean);
  if (role !== "owner") {
    return `This chat talks to the session ${sessionId}. Only an owner may let it talk to another one.`;
  }
  if (wanted !== undefined) return await switchTo(wanted, message, options);
  const { sessions: rows } = await ask(message, options, {
    method: "argus/session/list",
    result: Sessions,
  });
  const lines = rows
    .slice(0, MAX_ROWS)
    .map(({ name, title, status, ready, message: why }) =>
      [
        `${name === sessionId ? "→" : "•"} ${name}${title ? ` (${title})` : ""}: ${status}`,
        ready || status === "suspended" ? "" : `, ${why.slice(0, 150)}`,
      ].join(""),
    );
  const others = rows.filter(({ name }) => name !== sessionId && name.length <= MAX_BUTTON_NAME);
  const buttons = others
    .slice(0, MAX_BUTTONS)
    .map(({ name, title }) => ({ label: `Talk to ${title ?? name}`, data: `use:${name}` }));
  const more = rows.length > MAX_ROWS ? [`… and ${rows.length - MAX_ROWS} more`] : [];
  const hint = others.length > 0 ? ["", "Another one: press it, or write /sessions NAME."] : [];
  return {
    text: [`This chat talks to ${sessionId}.`, "", ...lines, ...more, ...hint].join("\n"),
    buttons,
  };
}

/** In words what came of it. */
export async function switchTo(
  session: string,
  { chatKey, person }: Pick<Inbound, "chatKey" | "person">,
  { adapter, owners, members }: Pick<CommandOptions, "adapter" | "owners" | "members">,
): Promise<string> {
  const params = { chatKey, session, personId: person.id, allow: { owners, members } };
  try {
    const { sessionId, former } = await adapter.ask(CHANNEL.switch, params, SwitchResult);
    if (sessionId === former) return `This chat talks to ${sessionId} already.`;
    return `From now on this chat talks to ${sessionId}. What you wrote before is still answered here.`;
  } catch (error) {
    if (!(error instanceof ArgusError && error.code === "NotFound")) throw error;
    return `There is no session ${session.slice(0, 63)}. /sessions lists them.`;
  }
}

const Nodes = z.object({
  nodes: z.array(
    z.object({
      displayName: z.string(),
      platform: z.string(),
      connected: z.boolean(),
      lastSeenMs: z.number().nullable(),
    }),
  ),
});

/** `/nodes`: the devices that the agent may use, and how to add one. */
export async function nodes(
  message: Inbound,
  _: Allowed,
  options: CommandOptions,
): Promise<string> {
  const { nodes: rows } = await ask(message, options, { method: "argus/node/list", result: Nodes });
  const now = Date.now();
  const lines = rows.slice(0, MAX_ROWS).map(({ displayName, platform, connected, lastSeenMs }) => {
    const away = lastSeenMs === null ? "not seen yet" : `away for ${ago(now - lastSeenMs)}`;
    return `• ${displayName}${platform ? ` (${platform})` : ""}: ${connected ? "connected" : away}`;
  });
  const list =
    lines.length > 0 ? ["Devices that I can use:", ...lines] : ["I can use no device yet."];
  const join = `argus node-host pair ${options.joinUrl ?? "https://YOUR-GATEWAY"}`;
  return [
    ...list,
    "",
    "To add one, run this on it:",
    join,
    "It shows a code; an owner writes /approve CODE here. Then let `argus node-host run` run on it.",
  ].join("\n");
}

function ago(ms: number): string {
  const minutes = Math.max(1, Math.round(ms / 60_000));
  if (minutes < 120) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}

/** `/approve` shows what waits, `/approve CODE` lets a person or a device in. */
export async function approve(
  message: Inbound,
  { role }: Allowed,
  options: CommandOptions,
): Promise<string> {
  if (role !== "owner") return "Only an owner may let people and devices in.";
  const [code = "", as] = (message.command?.words ?? "").split(/\s+/);
  if (code === "") return await waiting(message, options);
  const words =
    (await letIn(message, options, { code: code.toUpperCase(), as })) ??
    (await letDeviceIn(message, options, code.toUpperCase()));
  return (
    words ??
    `There is no code ${code.slice(0, 32).toUpperCase()} (any more): a person's lasts an hour, a device's 15 minutes. Let it be shown anew.`
  );
}

const People = z.object({
  codes: z.array(z.object({ code: z.string(), person: z.object({ name: z.string() }) })),
});
const Pending = z.object({
  pairings: z.array(z.object({ code: z.string(), displayName: z.string(), platform: z.string() })),
});

async function waiting(message: Inbound, options: CommandOptions): Promise<string> {
  const { codes } = await ask(message, options, { method: "argus/person/list", result: People });
  const { pairings } = await ask(message, options, {
    method: "argus/node/pending",
    result: Pending,
  });
  const lines = [
    ...codes.map(({ code, person }) => `• ${person.name} wants to write to me: /approve ${code}`),
    ...pairings.map(
      ({ code, displayName, platform }) =>
        `• The device ${displayName} (${platform}) wants to connect: /approve ${code}`,
    ),
  ];
  if (lines.length > 0)
    return ["This waits for your word:", ...lines.slice(0, MAX_ROWS)].join("\n");
  return "Nobody waits. Who writes to me for the first time is shown a code: you let them in by /approve CODE.";
}

async function letIn(
  { person }: Inbound,
  { adapter, owners, members }: CommandOptions,
  { code, as }: { code: string; as: string | undefined },
): Promise<string | undefined> {
  const role = as === "owner" ? "owner" : "member";
  const params = { personId: person.id, code, role, allow: { owners, members } };
  const found = await unlessMissing(adapter.ask(CHANNEL.approve, params, ApproveResult));
  return found && `${found.name} may write to me now.`;
}

const Approved = z.object({
  device: z.object({ displayName: z.string() }).optional(),
});

async function letDeviceIn(
  message: Inbound,
  options: CommandOptions,
  code: string,
): Promise<string | undefined> {
  const asked = ask(message, options, {
    method: "argus/node/approve",
    result: Approved,
    params: { code },
  });
  const found = await unlessMissing(asked);
  if (!found) return undefined;
  const { displayName } = found.device ?? {};
  return displayName === undefined
    ? "Allowed."
    : `I may use ${displayName} from now on. What it lets me do is decided on the device.`;
}

/** A code that is too short is none, too. */
async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const isMissing =
      error instanceof ArgusError && (error.code === "NotFound" || error.code === "InvalidInput");
    if (isMissing) return undefined;
    throw error;
  }
}

async function ask<T>(
  { chatKey, person }: Inbound,
  { adapter, owners, members }: CommandOptions,
  asked: { method: string; result: z.ZodType<T>; params?: Record<string, unknown> },
): Promise<T> {
  const { method, result, params = {} } = asked;
  const who = { personId: person.id, allow: { owners, members } };
  return await adapter.ask(CHANNEL.call, { chatKey, method, params, ...who }, result);
}
