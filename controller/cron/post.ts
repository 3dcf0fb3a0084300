import { readFile } from "node:fs/promises";
import { Pool } from "undici";
import type { Fence } from "#cluster/types.ts";
import { type Clock, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import {
  EVENT_STATUS_PATH,
  EVENTS_PATH,
  EventAnswer,
  EventRefusal,
  EventStatus,
  MAX_EVENT_ANSWER_BYTES,
  type SlotEvent,
} from "#protocol/events.ts";

/** What the gateway made of a slot. `failed` = nobody knows, or nothing was taken: the same slot is posted again. */
export type PostResult =
  | { state: "queued" | "duplicate" }
  | { state: "skipped"; reason?: string | undefined }
  | { state: "failed"; problem: { reason: string; message: string }; retryAfterMs?: number };

/** Takes a slot's event to whoever keeps it. Never throws for what the gateway does; throws when `fence` does. */
export type Post = (event: SlotEvent, fence: Fence) => Promise<PostResult>;

/** What became of an event. `unknown` = its keeper has none of this key; `unheard` = nobody could say now. */
export type Fate =
  | { state: "known"; status: EventStatus }
  | { state: "unknown" | "unheard" | "GatewayTooOld" };

/** Asks for an event of a session by its key. Never throws. */
export type AskFate = (sessionId: string, key: string) => Promise<Fate>;

export interface GatewayPostOptions {
  gatewayUrl: string;
  /** File with the token that proves who posts; read again as it is rotated. */
  tokenFile?: string | undefined;
  clock?: Clock;
  timeoutMs?: number;
}

/** The answer must be there by then, or the slot is posted again. */
const POST_TIMEOUT_MS = 10_000;
/** Sockets to the gateway; further posts wait for one. */
const MAX_CONNECTIONS = 32;
/** Rotated tokens stay valid for minutes. */
const TOKEN_MAX_AGE_MS = 10_000;
/** What a gateway may ask for. */
const MAX_RETRY_AFTER_MS = 5 * 60_000;

/** Posts to a gateway over HTTP. */
export class GatewayPost {
  readonly #options: GatewayPostOptions;
  readonly #clock: Clock;
  readonly #pool: Pool;
  readonly #base: string;
  #token: { text: string; readAtMs: number } | undefined;

  constructor(options: GatewayPostOptions) {
    const { origin, pathname } = new URL(options.gatewayUrl);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#base = pathname.replace(/\/+$/, "");
    this.#pool = new Pool(origin, { connections: MAX_CONNECTIONS, pipelining: 1 });
  }

  async post(event: SlotEvent, fence: Fence): Promise<PostResult> {
    let token: string | undefined;
    try {
      token = await this.#readToken();
    } catch (error) {
      const words = `the controller cannot read its token (${errorMessage(error)}): check ARGUS_GATEWAY_TOKEN_FILE`;
      return failed("TokenUnreadable", words);
    }
    return await this.#send(event, fence, token);
  }

  async fate(sessionId: string, key: string, signal: AbortSignal): Promise<Fate> {
    const late = AbortSignal.timeout(this.#options.timeoutMs ?? POST_TIMEOUT_MS);
    const query = new URLSearchParams({ sessionId, key }).toString();
    try {
      const token = await this.#readToken();
      const answer = await this.#pool.request({
        method: "GET",
        path: `${this.#base}${EVENT_STATUS_PATH}?${query}`,
        headers: token ? { authorization: `Bearer ${token}` } : {},
        signal: AbortSignal.any([late, signal]),
      });
      const body = await bounded(answer.body);
      if (answer.statusCode === 401) this.#token = undefined;
      return fateOf(answer.statusCode, body);
    } catch {
      return { state: "unheard" };
    }
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }

  async #send(event: SlotEvent, fence: Fence, token: string | undefined): Promise<PostResult> {
    const late = AbortSignal.timeout(this.#options.timeoutMs ?? POST_TIMEOUT_MS);
    // Nothing may come between this look and the request.
    fence.check();
    try {
      const answer = await this.#pool.request({
        method: "POST",
        path: `${this.#base}${EVENTS_PATH}`,
        headers: {
          "content-type": "application/json",
          ...(token ? { authorization: `Bearer ${token}` } : {}),
        },
        body: JSON.stringify(event),
        signal: AbortSignal.any([late, fence.signal]),
      });
      const body = await bounded(answer.body);
      if (answer.statusCode === 401) this.#token = undefined;
      return resultOf(answer.statusCode, body, answer.headers["retry-after"]);
    } catch (error) {
      if (fence.signal.aborted) throw fence.signal.reason;
      const why = late.aborted ? "no answer in time" : errorMessage(error);
      return failed("GatewayUnavailable", `the gateway does not answer (${why})`);
    }
  }

  async #readToken(): Promise<string | undefined> {
    const { tokenFile } = this.#options;
    if (!tokenFile) return undefined;
    const nowMs = this.#clock.now();
    const ageMs = nowMs - (this.#token?.readAtMs ?? 0);
    if (this.#token && ageMs >= 0 && ageMs < TOKEN_MAX_AGE_MS) return this.#token.text;
    const text = (await readFile(tokenFile, "utf8")).trim();
    this.#token = { text, readAtMs: nowMs };
    return text;
  }
}

/** The body as text; throws above the bound. */
async function bounded(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_EVENT_ANSWER_BYTES) throw new Error("its answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** What an answer means for the slot. */
export function resultOf(status: number, body: string, retryAfter?: string | string[]): PostResult {
  const json = parsed(body);
  const answer = EventAnswer.safeParse(json);
  if (status === 202 && answer.success) {
    const { state, reason } = answer.data;
    return state === "skipped" ? { state, reason } : { state };
  }
  const refusal = EventRefusal.safeParse(json).data ?? {};
  const problem = problemOf(status, refusal);
  return { state: "failed", problem, ...retryAfterMs(retryAfter) };
}

/** What an answer says of an event. */
export function fateOf(status: number, body: string): Fate {
  const json = parsed(body);
  if (status === 200) {
    const { data } = EventStatus.safeParse(json);
    return data ? { state: "known", status: data } : { state: "unheard" };
  }
  if (status !== 404) return { state: "unheard" };
  const { code } = EventRefusal.safeParse(json).data ?? {};
  return { state: code === undefined ? "GatewayTooOld" : "unknown" };
}

function problemOf(status: number, { detail, code }: EventRefusal): PostProblem {
  const said = detail ? `: ${detail.slice(0, 512)}` : "";
  if (status === 404 && code === "SessionNotFound") {
    return {
      reason: "SessionUnknownToGateway",
      message: `the gateway knows no such session yet${said}`,
    };
  }
  if (status === 404 || status === 405) {
    const words = `the gateway has no endpoint ${EVENTS_PATH}: upgrade it; the slot waits`;
    return { reason: "GatewayTooOld", message: words };
  }
  if (status === 401 || status === 403) {
    const words = `the gateway does not accept who posts (${status}${said}): check ARGUS_GATEWAY_TOKEN_FILE of the controller`;
    return { reason: "GatewayRefusesToken", message: words };
  }
  if (status === 429 || status === 503) {
    return {
      reason: "GatewayBusy",
      message: `the gateway takes no more events now (${status}${said})`,
    };
  }
  if (status >= 400 && status < 500) {
    return { reason: "EventRefused", message: `the gateway refuses the event (${status}${said})` };
  }
  return { reason: "GatewayUnavailable", message: `the gateway answered ${status}${said}` };
}

interface PostProblem {
  reason: string;
  message: string;
}

function failed(reason: string, message: string): PostResult {
  return { state: "failed", problem: { reason, message } };
}

function retryAfterMs(header: string | string[] | undefined): { retryAfterMs?: number } {
  const seconds = Number([header].flat()[0] ?? Number.NaN);
  if (!(seconds > 0)) return {};
  return { retryAfterMs: Math.min(seconds * 1000, MAX_RETRY_AFTER_MS) };
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
