import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { EnqueueParams, type EnqueueResult, InputParams } from "#protocol/lane-methods.ts";
import type { Lane } from "./lanes/lane.ts";
import type { Lanes } from "./lanes/lanes.ts";
import { cancel, enqueue } from "./state/inputs.ts";

/** A frame that the gateway answers itself. */
export interface OwnRequest {
  id: unknown;
  method: string;
  params: unknown;
}

type Method = (lane: Lane, params: unknown) => Promise<unknown>;

const METHODS: Record<string, Method> = {
  "argus/input/enqueue": enqueueInput,
  "argus/input/list": listInputs,
  "argus/input/cancel": cancelInput,
};

/** The answer to a client's `argus/*` request, as a frame's text. Never throws. */
export async function answerOwn(
  { id, method, params }: OwnRequest,
  session: ArgusSession,
  lanes: Lanes,
): Promise<string> {
  try {
    const run = METHODS[method];
    if (!run) return errorAnswer(id, RPC_ERROR.methodNotFound, `Method not found: ${method}`);
    return JSON.stringify({ id, result: await run(await lanes.of(session), params ?? {}) });
  } catch (error) {
    const { code, message, data } = rpcError(error);
    return errorAnswer(id, code, message, data);
  }
}

export function errorAnswer(id: unknown, code: number, message: string, data?: unknown): string {
  return JSON.stringify({ id, error: { code, message, ...(data ? { data } : {}) } });
}

async function enqueueInput(lane: Lane, params: unknown): Promise<EnqueueResult> {
  const { text, key, threadId, target, source } = EnqueueParams.parse(params);
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
    waitsFor: ahead > 0 ? `${ahead} earlier messages` : lane.waitsFor,
    repeated,
  };
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
    waitsFor: inputs.length > 0 ? lane.waitsFor : "",
    inputs,
    ended,
  };
}

async function cancelInput(lane: Lane, params: unknown) {
  const { inputId } = InputParams.parse(params);
  const facts = { id: inputId, now: Date.now(), limit: lane.limit };
  const outcome = await lane.state.reduce((document) => cancel(document, facts));
  if (outcome === "cancelled" || outcome === "ended") return { ok: true, outcome };
  const message =
    outcome === "running"
      ? `Input ${inputId} has started: interrupt its turn instead`
      : `There is no input ${inputId} in this session`;
  throw new ArgusError("InvalidInput", message, { inputId });
}

/** The codes of the seed's clients: -32602 for bad params, -32001 for try again, -32000 for anything else. */
function rpcError(error: unknown): { code: number; message: string; data?: unknown } {
  if (error instanceof z.ZodError)
    return { code: RPC_ERROR.invalidParams, message: badParams(error) };
  if (!(error instanceof ArgusError))
    return { code: RPC_ERROR.server, message: "The gateway failed" };
  const { code, message } = error;
  if (code === "InvalidInput" || code === "TooLarge")
    return { code: RPC_ERROR.invalidParams, message };
  if (code === "Busy") return { code: RPC_ERROR.busy, message, data: { status: 429 } };
  return { code: RPC_ERROR.server, message };
}

function badParams({ issues }: z.ZodError): string {
  const [first] = issues;
  const path = first?.path.join(".") ?? "";
  return path === "text"
    ? "Missing 'text'"
    : `${path || "params"}: ${first?.message ?? "not valid"}`;
}
