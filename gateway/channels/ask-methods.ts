import { ArgusError } from "#lib/errors.ts";
import {
  AskAnswerParams,
  type AskAnswerResult,
  AskShownParams,
  CHANNEL_ASK,
} from "#protocol/channel-asks.ts";
import { roleOf } from "../state/access.ts";
import { closeAsk, decideAsk, shownAsk } from "../state/asks.ts";
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
  const { channel, context } = connection;
  const named = (id: string) => `${channel}:${id}`;
  const allowed = { owners: allow.owners.map(named), members: allow.members.map(named) };
  const role = roleOf(context.state.current.access, named(person.id), allowed);
  demandRight(role, isGroup);
  return await lane.state.reduce((document) =>
    decideAsk(document, askId, { choice, by: person.name, ref }),
  );
}

/** Who talks alone with the agent decides what it does for them; in a group anybody may speak, and only an owner decides. */
function demandRight(role: "owner" | "member" | undefined, isGroup: boolean): void {
  if (role === "owner" || (role === "member" && !isGroup)) return;
  const words = isGroup ? "Only an owner may decide this." : "You may not decide this.";
  throw new ArgusError("Forbidden", words);
}

/** A question of this channel's, and of no other. */
function found({ channel, channels }: AdapterConnection, askId: string) {
  const known = channels.asks.find(askId);
  return known?.ask.target.channel === channel ? known : undefined;
}
