import { z } from "zod";
import { PersonList } from "#protocol/access.ts";
import { findGateway } from "../client.ts";
import type { Environment } from "../config.ts";
import { say } from "../say.ts";
import { age, table } from "../table.ts";
import { callSession } from "./session-call.ts";

export interface PeopleCommand {
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

const Approved = z.object({ person: z.object({ id: z.string(), name: z.string() }) });

export async function list(command: PeopleCommand & { json?: boolean }): Promise<number> {
  const found = await ask(command, "list", {}, PersonList);
  if (command.json) return say(JSON.stringify(found, undefined, 2));
  const now = new Date();
  const since = (ms: number) => age(new Date(ms).toISOString(), now);
  const rows = [
    ...found.people.map(({ id, name, role, addedAt }) => [id, name, role, since(addedAt), ""]),
    ...found.codes.map(({ person, code }) => [
      person.id,
      person.name,
      "asks",
      "",
      `argus people approve ${code}`,
    ]),
  ];
  if (rows.length === 0) return say("nobody but the owners that the bot's settings name");
  return say(table(["ID", "NAME", "ROLE", "SINCE", "LET IN WITH"], rows).trimEnd());
}

export async function approve(
  command: PeopleCommand & { code: string; owner?: boolean },
): Promise<number> {
  const params = { code: command.code, role: command.owner ? "owner" : "member" };
  const { person } = await ask(command, "approve", params, Approved);
  return say(`${person.name} (${person.id}) may write now`);
}

export async function remove(command: PeopleCommand & { id: string }): Promise<number> {
  await ask(command, "remove", { id: command.id }, z.unknown());
  return say(`${command.id} may write no more`);
}

async function ask<T>(
  command: PeopleCommand,
  what: "list" | "approve" | "remove",
  params: object,
  result: z.ZodType<T>,
): Promise<T> {
  const call = { method: `argus/person/${what}`, params, result };
  return await callSession(findGateway(command), call);
}
