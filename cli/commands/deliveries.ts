import { z } from "zod";
import { Delivery, EndedDelivery } from "#protocol/delivery.ts";
import { findGateway } from "../client.ts";
import type { Environment } from "../config.ts";
import { say } from "../say.ts";
import { age, table } from "../table.ts";
import { callSession } from "./session-call.ts";

export interface DeliveriesCommand {
  session?: string;
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

const List = z.object({
  deliveries: z.array(Delivery.extend({ waitsFor: z.string() })),
  ended: z.array(EndedDelivery),
});
const Anything = z.unknown();

/** Open deliveries and dead ones that can be sent again; with `all` the others too. */
export async function list(
  command: DeliveriesCommand & { json?: boolean; all?: boolean },
): Promise<number> {
  const { session, all } = command;
  const call = { session, method: "argus/delivery/list", params: {}, result: List };
  const { deliveries, ended } = await callSession(findGateway(command), call);
  const shown = ended.filter(({ state, text }) => all || (state === "dead" && text !== undefined));
  if (command.json) return say(JSON.stringify({ deliveries, ended: shown }, undefined, 2));
  const now = new Date();
  const since = (at: number) => age(new Date(at).toISOString(), now);
  const rows = [
    ...shown.map(({ id, target, state, endedAt, reason }) => [
      id,
      target.channel,
      target.chatKey,
      state,
      since(endedAt),
      reason,
    ]),
    ...deliveries.map(({ id, target, createdAt, waitsFor, claim }) => [
      id,
      target.channel,
      target.chatKey,
      claim && waitsFor === "" ? "sending" : "waiting",
      since(createdAt),
      waitsFor,
    ]),
  ];
  if (rows.length === 0) return say("every delivery of this session has been sent");
  return say(table(["ID", "CHANNEL", "CHAT", "STATE", "AGE", "REASON"], rows).trimEnd());
}

export async function retry(command: DeliveriesCommand & { id: string }): Promise<number> {
  await ask(command, "argus/delivery/retry");
  return say(`delivery ${command.id} is sent as soon as an adapter takes it`);
}

export async function drop(command: DeliveriesCommand & { id: string }): Promise<number> {
  await ask(command, "argus/delivery/drop");
  return say(`delivery ${command.id} is given up`);
}

async function ask(
  { id, session, ...command }: DeliveriesCommand & { id: string },
  method: string,
): Promise<void> {
  const call = { session, method, params: { deliveryId: id }, result: Anything };
  await callSession(findGateway(command), call);
}
