import { randomUUID } from "node:crypto";
import type { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import {
  CHANNEL,
  HeldParams,
  type HeldResult,
  HelloParams,
  type HelloResult,
  InputParams,
  type InputResult,
  LEASE_MS,
  MAX_HELD,
  OutcomeParams,
  type OutcomeResult,
  SendingParams,
} from "#protocol/channel.ts";
import { sessionOf } from "../state/access.ts";
import { enqueue } from "../state/inputs.ts";
import { type Claimant, partOutcome, release, renew, sendingPart } from "../state/outbox.ts";
import type { AdapterConnection } from "./adapter-connection.ts";
import type { AdapterMethod } from "./adapter-frames.ts";
import { ASK_METHODS, answerInWords } from "./ask-methods.ts";
import { chatMethods } from "./chat-methods.ts";
import { takeUp } from "./claims.ts";
import { FILE_METHODS } from "./file-methods.ts";
import { holding } from "./holding.ts";
import type { Holder } from "./outbox.ts";

/** What an adapter may ask for, besides `delivery/next`, which waits. Each commits before it answers. */
export const METHODS: Record<string, AdapterMethod> = {
  [CHANNEL.hello]: hello,
  [CHANNEL.input]: input,
  [CHANNEL.sending]: sending,
  [CHANNEL.outcome]: outcome,
  [CHANNEL.renew]: renewLeases,
  [CHANNEL.release]: giveBack,
  ...chatMethods,
  ...FILE_METHODS,
  ...ASK_METHODS,
};

async function hello(connection: AdapterConnection, params: unknown): Promise<HelloResult> {
  if (connection.by) throw new ArgusError("InvalidInput", "This connection has said hello.");
  const { channel, adapter, epoch: known, holding: named, asks } = HelloParams.parse(params);
  const epoch = await connection.channels.greet(adapter, known, connection);
  const by = { adapter, epoch };
  connection.greeted({ channel, asks }, by);
  const held = await takeUp(connection, by, named);
  connection.channels.options.files.adapterCame(channel);
  connection.channels.asks.adapterCame(channel);
  const { logger } = connection.channels.options;
  logger.info({ channel, adapter, epoch, held: held.length }, "adapter connected");
  return { epoch, leaseMs: LEASE_MS, maxHeld: MAX_HELD, held };
}

async function sending(connection: AdapterConnection, params: unknown) {
  const { deliveryId: id, ...what } = SendingParams.parse(params);
  const { by, lane } = holding(connection, id);
  const facts = { id, by, ...what, leaseMs: LEASE_MS, now: Date.now() };
  await lane.state.reduce((document) => sendingPart(document, facts));
  return { ok: true };
}

async function outcome(connection: AdapterConnection, params: unknown): Promise<OutcomeResult> {
  const { deliveryId: id, part, outcome: what } = OutcomeParams.parse(params);
  const { by, lane } = holding(connection, id);
  const facts = { id, by, part, outcome: what, now: Date.now(), limit: lane.limit };
  const answer = await lane.state.reduce((document) => partOutcome(document, facts));
  if ("claim" in answer && answer.claim) return { delivery: answer };
  connection.held.delete(id);
  return "endedAt" in answer ? { ended: answer } : {};
}

async function renewLeases(connection: AdapterConnection, params: unknown): Promise<HeldResult> {
  return await eachHeld(connection, params, (lane, id, by) => {
    const facts = { id, by, leaseMs: LEASE_MS, now: Date.now() };
    return lane.state.update((document) => renew(document, facts));
  });
}

async function giveBack(connection: AdapterConnection, params: unknown): Promise<HeldResult> {
  return await eachHeld(connection, params, async (lane, id, by) => {
    await lane.state.update((document) => release(document, id, by));
    connection.held.delete(id);
  });
}

/** Does it for each that the adapter still holds; the others are named. */
async function eachHeld(
  connection: AdapterConnection,
  params: unknown,
  act: (lane: Holder, id: string, by: Claimant) => Promise<unknown>,
): Promise<HeldResult> {
  const lost: string[] = [];
  const one = async (id: string) => {
    try {
      const { by, lane } = holding(connection, id);
      await act(lane, id, by);
    } catch (error) {
      if (!(error instanceof ArgusError && error.code === "Conflict")) throw error;
      lost.push(id);
    }
  };
  await Promise.all(HeldParams.parse(params).deliveryIds.map(one));
  return { lost };
}

async function input(connection: AdapterConnection, params: unknown): Promise<InputResult> {
  const said = InputParams.parse(params);
  const answered = await answerInWords(connection, said);
  return answered ?? (await message(connection, said));
}

/** A message for the chat's session. */
async function message(
  { channel, channels }: AdapterConnection,
  { sessionId: named, chatKey, key, text, attachments }: z.output<typeof InputParams>,
): Promise<InputResult> {
  const { directory, lanes, state } = channels.options;
  const name = named ?? sessionOf(state.current.access, `${channel}:${chatKey}`);
  const session = name === undefined ? undefined : directory.session(name);
  if (!session) {
    const words = named
      ? `There is no session ${named}.`
      : `Chat ${chatKey} is bound to no session.`;
    throw new ArgusError("NotFound", words, { channel, chatKey });
  }
  const lane = await lanes.of(session);
  const accepted = await lane.state.reduce((document) =>
    enqueue(document, {
      id: `in-${randomUUID()}`,
      // Two channels may number their messages alike.
      key: `${channel}:${key}`,
      text,
      attachments,
      threadId: null,
      source: { channel, chatKey },
      now: Date.now(),
      limit: lane.limit,
    }),
  );
  lane.wake();
  const sessionId = session.metadata.name;
  if (accepted.state === "ended") {
    const { id: inputId } = accepted.ended;
    return { sessionId, inputId, ahead: 0, repeated: true, waitsFor: "" };
  }
  const { ahead, repeated } = accepted;
  const waitsFor = ahead > 0 ? `${ahead} earlier messages` : lane.waitsFor;
  return { sessionId, inputId: accepted.input.id, ahead, repeated, waitsFor };
}
