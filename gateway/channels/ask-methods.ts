import { randomUUID } from "node:crypto";
import type { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import type { InputParams, InputResult } from "#protocol/channel.ts";
import {
  AskAnswerParams,
  type AskAnswerResult,
  AskShownParams,
  CHANNEL_ASK,
} from "#protocol/channel-asks.ts";
import { roleOf } from "../state/access.ts";
import { answerByMessage, closeAsk, decideAsk, shownAsk } from "../state/asks.ts";
import type { AdapterConnection } from "./adapter-connection.ts";
import type { AdapterMethod } from "./adapter-frames.ts";

/** What an adapter tells of questions to people. */
export const ASK_METHODS: Record<string, AdapterMethod> = {
  [CHANNEL_ASK.shown]: shown,
  [CHANNEL_ASK.answer]: answer,
};

async function shown(connection: AdapterConnection, params: unknown) {
  const { askId, state, ref, failed } = AskShownParams.parse(params);
  const { lane } = found(connection, askId) ?? {};
  if (!lane) return { isKnown: false };
  if (failed !== undefined && state === "open") {
    const outcome = `☑️ It could not be asked here: ${failed}`;
    await lane.state.update((document) => closeAsk(document, askId, outcome));
    return { isKnown: true };
  }
  const facts = { id: askId, state, ref, now: Date.now() };
  const known = await lane.state.reduce((document) => shownAsk(document, facts));
  return { isKnown: known !== null };
}

async function answer(connection: AdapterConnection, params: unknown): Promise<AskAnswerResult> {
  const { askId, chatKey, isGroup, choice, person, ref, allow } = AskAnswerParams.parse(params);
  const { lane, ask } = found(connection, askId) ?? {};
  if (!lane || ask?.target.chatKey !== chatKey) {
    throw new ArgusError("NotFound", "This question is over.", { ask: askId });
  }
  demandRight(connection, { person, isGroup, allow });
  return await lane.state.reduce((document) =>
    decideAsk(document, askId, { given: { choice }, by: person.name, ref }),
  );
}

interface Somebody {
  person: { id: string };
  isGroup: boolean;
  allow: { owners: string[]; members: string[] };
}

/** Who talks alone with the agent decides what it does for them; in a group anybody may speak, and only an owner decides. */
function demandRight(
  { channel, context }: AdapterConnection,
  { person, isGroup, allow }: Somebody,
): void {
  const named = (id: string) => `${channel}:${id}`;
  const allowed = { owners: allow.owners.map(named), members: allow.members.map(named) };
  const role = roleOf(context.state.current.access, named(person.id), allowed);
  if (role === "owner" || (role === "member" && !isGroup)) return;
  const words = isGroup ? "Only an owner may decide this." : "You may not decide this.";
  throw new ArgusError("Forbidden", words);
}

/** Takes a message that replies to an open question as its answer; undefined = it is a message as any other. Throws `Forbidden`. */
export async function answerInWords(
  connection: AdapterConnection,
  { chatKey, key, reply }: z.output<typeof InputParams>,
): Promise<InputResult | undefined> {
  const { channel, channels } = connection;
  if (!reply || reply.text.trim() === "") return undefined;
  const asked = channels.asks.shownAs({ channel, chatKey }, reply);
  if (!asked) return undefined;
  demandRight(connection, reply);
  const { lane, ask, name: sessionId } = asked;
  const source = { channel, chatKey };
  const facts = { id: `in-${randomUUID()}`, threadId: null, turnId: null, source };
  // Named as a message's: a repeat is neither an answer nor a message once more.
  const message = { ...facts, key: `${channel}:${key}`, endedAt: Date.now() };
  const { text, ref, person } = reply;
  const given = { text, ref, by: person.name, message, limit: lane.limit };
  const ended = await lane.state.reduce((document) => answerByMessage(document, ask.id, given));
  if (!ended) return undefined;
  const repeated = ended.id !== facts.id;
  return { sessionId, inputId: ended.id, ahead: 0, repeated, waitsFor: "", answered: true };
}

/** A question of this channel's, and of no other. */
function found({ channel, channels }: AdapterConnection, askId: string) {
  const known = channels.asks.find(askId);
  return known?.ask.target.channel === channel ? known : undefined;
}
