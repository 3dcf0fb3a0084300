import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { findGateway } from "../client.ts";
import type { Environment } from "../config.ts";
import { say } from "../say.ts";
import { age, facts, table } from "../table.ts";
import { callSession } from "./session-call.ts";

export interface EventsCommand {
  session?: string;
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

const Row = z.looseObject({
  eventId: z.string(),
  key: z.string(),
  kind: z.string(),
  source: z.string(),
  state: z.string(),
  reason: z.string(),
  slot: z.string().optional(),
  createdAtMs: z.number().optional(),
  endedAtMs: z.number().optional(),
  tries: z.number().optional(),
  text: z.string().optional(),
  canReplay: z.boolean(),
});
type Row = z.infer<typeof Row>;
const List = z.object({ waitsFor: z.string(), events: z.array(Row) });
const ALL = 1000;

/** Open events and dead ones that can be told again; with `all` the others too. */
export async function list(
  command: EventsCommand & { all?: boolean; json?: boolean },
): Promise<number> {
  const { events, waitsFor } = await rows(command);
  const isOpen = ({ state }: Row) => state === "Queued" || state === "Running";
  const shown = events.filter((row) => command.all || isOpen(row) || row.canReplay);
  if (command.json) return say(JSON.stringify({ waitsFor, events: shown }, undefined, 2));
  if (shown.length === 0) return say("no event of this session waits or was given up");
  const now = new Date();
  const cells = shown.map((row) => [
    row.key,
    row.kind,
    row.source,
    row.state,
    age(timeOf(row), now),
    row.reason || (row.state === "Queued" ? waitsFor : ""),
  ]);
  return say(table(["KEY", "KIND", "SOURCE", "STATE", "AGE", "REASON"], cells).trimEnd());
}

export async function show(command: EventsCommand & { key: string }): Promise<number> {
  const { events } = await rows(command);
  const row = events.find(({ key, eventId }) => key === command.key || eventId === command.key);
  if (!row) {
    const message = `the session knows no event ${command.key}: \`argus events list --all\` lists them`;
    throw new ArgusError("NotFound", message);
  }
  return say(
    facts([
      ["key", row.key],
      ["kind", row.kind],
      ["source", row.source],
      ["state", row.state],
      ["reason", row.reason],
      ["slot", row.slot ?? ""],
      ["at", timeOf(row) ?? ""],
      ["tries", row.tries ? String(row.tries) : ""],
      ["text", row.text ?? "(not kept any more)"],
      ["retry", row.canReplay ? `argus events retry ${row.key}` : ""],
    ]),
  );
}

/** Once more, as an event of its own. */
export async function retry(command: EventsCommand & { key: string }): Promise<number> {
  const { state } = await ask(command, "argus/event/replay", z.object({ state: z.string() }));
  return say(`event ${command.key}: ${state}`);
}

export async function drop(command: EventsCommand & { key: string }): Promise<number> {
  await ask(command, "argus/event/drop", z.unknown());
  return say(`event ${command.key} is given up`);
}

async function rows(command: EventsCommand) {
  const { session } = command;
  const call = { session, method: "argus/event/list", params: { limit: ALL }, result: List };
  return await callSession(findGateway(command), call);
}

async function ask<T>(
  { key, session, ...command }: EventsCommand & { key: string },
  method: string,
  result: z.ZodType<T>,
): Promise<T> {
  return await callSession(findGateway(command), { session, method, params: { key }, result });
}

function timeOf({ endedAtMs, createdAtMs }: Row): string | undefined {
  const at = endedAtMs ?? createdAtMs;
  return at === undefined ? undefined : new Date(at).toISOString();
}
