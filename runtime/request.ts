import { z } from "zod";
import { errorMessage } from "#lib/errors.ts";
import { type LineScan, names, scanMembers, stringAt, valueAt } from "#lib/scan.ts";
import { RPC_ERROR, type RpcError } from "#protocol/envelope.ts";
import type { Refusal } from "./busy.ts";
import type { Peer } from "./peer.ts";
import { RpcFailure } from "./rpc.ts";

/** Longest `clientUserMessageId`. */
const MAX_INPUT_ID = 512;
const PARAMS = names("threadId", "clientUserMessageId");
const ANSWER = names("error", "result");
const THREAD = names("thread");
const ID = names("id");

/** Who asked what, for the answer. */
export interface Asker {
  peer: Peer;
  method: string;
  /** Bytes of the asker's id. */
  id: Buffer;
}

/** A peer's request for the app-server. */
export interface Request extends Asker {
  line: Buffer;
  scan: LineScan;
}

/** What the answer to a request changes before the peer gets it. */
export interface Effects {
  /** False = the answer reaches the peer later, by the effect itself. */
  answered?: (line: Buffer) => boolean;
  failed?: (error: RpcError, forwarded: boolean) => void;
}

export const ENDED: RpcError = {
  code: RPC_ERROR.server,
  message: "The app-server ended before the request was forwarded; nothing was started. Try again.",
  data: { reason: "restarted" },
};

export function busyError(refusal: Refusal): RpcError {
  const message = `Thread ${refusal.threadId} has a running turn; nothing was started. Wait for its end or interrupt it.`;
  return { code: RPC_ERROR.busy, message, data: { reason: "busy", ...refusal } };
}

export function errorOf(error: unknown): RpcError {
  if (error instanceof RpcFailure) return error.error;
  return { code: RPC_ERROR.server, message: errorMessage(error) };
}

/** Of an input that the ledger knows: whether it ran could not be told now, so nobody may take the error for a refusal of it. */
export function unsettled(error: unknown): RpcError {
  const { data, ...words } = errorOf(error);
  const isTold = typeof data === "object" && data !== null && "reason" in data;
  return { ...words, data: isTold ? data : { reason: "unsettled" } };
}

export function threadOf({ line, scan }: Request): string | undefined {
  return scan.params && stringAt(line, scanMembers(line, scan.params.start, PARAMS)[0]);
}

export function inputOf({ line, scan }: Request): string | undefined {
  const input = scan.params && stringAt(line, scanMembers(line, scan.params.start, PARAMS)[1]);
  if (input === undefined || input === "") return undefined;
  if (input.length <= MAX_INPUT_ID) return input;
  const message = `clientUserMessageId may have at most ${MAX_INPUT_ID} characters`;
  throw new RpcFailure({ code: RPC_ERROR.invalidParams, message });
}

export function isError(line: Buffer): boolean {
  const [error] = scanMembers(line, line.indexOf(0x7b), ANSWER);
  return error !== undefined && line.toString("latin1", error.start, error.end) !== "null";
}

/** `result.thread.id` of an answer, without parsing the thread's turns. */
export function threadIdIn(line: Buffer): string | undefined {
  const result = scanMembers(line, line.indexOf(0x7b), ANSWER)[1];
  const thread = result && scanMembers(line, result.start, THREAD)[0];
  return thread && stringAt(line, scanMembers(line, thread.start, ID)[0]);
}

/** What the answer to a request with an input may say of it: its turn, or its place in the thread's queue. */
const Outcome = z.object({
  turn: z.object({ id: z.string() }).optional().catch(undefined),
  turnId: z.string().optional().catch(undefined),
  queuedSubmission: z.looseObject({ id: z.string() }).optional().catch(undefined),
});

export function outcomeOf(result: unknown): { turn?: string; queued?: object } {
  const { turn, turnId, queuedSubmission } = Outcome.safeParse(result).data ?? {};
  const id = turn?.id ?? turnId;
  return {
    ...(id === undefined ? {} : { turn: id }),
    ...(queuedSubmission ? { queued: queuedSubmission } : {}),
  };
}

export function paramsOf({ line, scan }: Request): Record<string, unknown> {
  const params = valueAt(line, scan.params);
  return typeof params === "object" && params ? { ...params } : {};
}
