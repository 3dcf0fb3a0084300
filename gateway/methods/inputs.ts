import { randomUUID } from "node:crypto";
import { ArgusError } from "#lib/errors.ts";
import type { Source } from "#protocol/lane-entry.ts";
import { EnqueueParams, type EnqueueResult, InputParams } from "#protocol/lane-methods.ts";
import { chatId } from "#protocol/session-methods.ts";
import type { Lane } from "../lanes/lane.ts";
import { sessionOf } from "../state/access.ts";
import { type Accepted, cancel, enqueue, retryInput } from "../state/inputs.ts";
import type { Caller, Method } from "./method.ts";

export const inputMethods: Record<string, Method> = {
  "argus/input/enqueue": enqueueInput,
  "argus/input/list": listInputs,
  "argus/input/cancel": cancelInput,
  "argus/input/retry": retryAgain,
};

async function enqueueInput(lane: Lane, params: unknown, caller: Caller): Promise<EnqueueResult> {
  const { text, key, threadId, target, source } = EnqueueParams.parse(params);
  if (source) await demandBound(source, caller);
  const id = `in-${randomUUID()}`;
  const accepted = await lane.state.reduce((document) =>
    enqueue(document, {
      id,
      key: key ?? id,
      text,
      threadId: target === "main" ? null : (threadId ?? null),
      source: source ?? null,
      now: Date.now(),
      limit: lane.limit,
    }),
  );
  return acceptedResult(lane, accepted);
}

/** The answer goes to the source: only the owner decides which chats hear from a session. Throws `Forbidden`. */
async function demandBound(source: Source, { principal, session, context }: Caller): Promise<void> {
  if (principal.kind === "admin") return;
  const { name } = (await session()).metadata;
  const chat = chatId(source);
  if (sessionOf(context.state.current.access, chat) === name) return;
  const words = `Chat ${chat} is not bound to session ${name}: its owner binds it first (argus/chat/bind). Nothing was accepted.`;
  throw new ArgusError("Forbidden", words, { chat, session: name });
}

/** A message that did not end well, once more; its sender asks for it. */
async function retryAgain(lane: Lane, params: unknown): Promise<EnqueueResult> {
  const { inputId } = InputParams.parse(params);
  const facts = { inputId, id: `in-${randomUUID()}`, now: Date.now(), limit: lane.limit };
  return acceptedResult(lane, await lane.state.reduce((document) => retryInput(document, facts)));
}

function acceptedResult(lane: Lane, accepted: Accepted): EnqueueResult {
  lane.wake();
  const { mainThread } = lane.state.current;
  if (accepted.state === "ended") return endedResult(accepted.ended);
  const { input, ahead, repeated } = accepted;
  return {
    ok: true,
    inputId: input.id,
    threadId: input.threadId ?? mainThread,
    started: ahead === 0,
    queued: ahead > 0,
    followupDepth: ahead,
    turnId: null,
    waitsFor: ahead > 0 ? waitingWords(lane, ahead) : lane.waitsFor,
    repeated,
  };
}

function waitingWords(lane: Lane, ahead: number): string {
  const count = ahead === 1 ? "One turn is before it." : `${ahead} turns are before it.`;
  return [lane.running || lane.waitsFor, count].filter((words) => words !== "").join(" ");
}

function endedResult(ended: NonNullable<EnqueueResult["ended"]>): EnqueueResult {
  const { id: inputId, threadId, turnId } = ended;
  const known = { ok: true, inputId, threadId, turnId, ended } as const;
  return {
    ...known,
    started: false,
    queued: false,
    followupDepth: 0,
    waitsFor: "",
    repeated: true,
  };
}

async function listInputs(lane: Lane) {
  const { turn, ended, mainThread } = lane.state.current;
  const inputs = lane.state.current.inputs.map((input) => ({
    ...input,
    state: turn?.inputId === input.id ? "started" : "waiting",
  }));
  return {
    ok: true,
    threadId: mainThread,
    turn,
    waitsFor: inputs.length > 0 ? lane.running || lane.waitsFor : "",
    inputs,
    ended,
  };
}

async function cancelInput(lane: Lane, params: unknown) {
  const { inputId } = InputParams.parse(params);
  const facts = { id: inputId, now: Date.now(), limit: lane.limit };
  const outcome = await lane.state.reduce((document) => cancel(document, facts));
  if (outcome === "unknown") {
    const message = `There is no input ${inputId} in this session`;
    throw new ArgusError("InvalidInput", message, { inputId });
  }
  // Its end is told as that of any turn.
  if (outcome === "running") await lane.stop("you asked for it.", inputId);
  return { ok: true, outcome };
}
