import type { Dispatcher } from "undici";
import type { Logger } from "#lib/logger.ts";
import type { Connection, Target } from "./connection.ts";
import { KubeError, type KubeStatus } from "./kube-error.ts";
import type { Fence, KubeResponse, RequestOptions } from "./types.ts";
import { type WholeAnswer, wholeAnswer } from "./whole-answer.ts";

/** Deadline of a call that names none, body included. */
export const CALL_TIMEOUT_MS = 30_000;

export interface Call extends RequestOptions {
  method: string;
  /** Path without a query. */
  path: string;
  /** For messages: `create pods default/main`. */
  label: string;
}

type Answer = Dispatcher.ResponseData | WholeAnswer;
/** Makes one request: to a stream, or to a body that has been read. */
type Ask<A extends Answer> = (
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions & { origin: string },
  signal: AbortSignal,
) => Promise<A>;

/** Ends the call when `signal` aborts or the deadline passes. `clear` must be called when it is over. */
interface Deadline {
  signal: AbortSignal;
  clear: () => void;
}

/** Makes calls over one connection: deadline, credentials, warnings, one repeat where it is harmless. */
export class Caller {
  readonly #connection: Connection;
  readonly #logger: Logger;
  readonly #fence: Fence | undefined;
  /** Answers so far by `METHOD code`, of all that share the connection. */
  readonly counts: Map<string, number>;

  constructor(
    connection: Connection,
    logger: Logger,
    { fence, counts = new Map() }: { fence?: Fence; counts?: Map<string, number> } = {},
  ) {
    this.#connection = connection;
    this.#logger = logger;
    this.#fence = fence;
    this.counts = counts;
  }

  get multiplexes(): boolean {
    return this.#connection.multiplexes;
  }

  fenced(fence: Fence): Caller {
    return new Caller(this.#connection, this.#logger, { fence, counts: this.counts });
  }

  /** The answer, whatever its status; the caller must read or dump the body. Throws KubeError when none came. */
  async send(wanted: Call): Promise<KubeResponse> {
    const call = this.#withFence(wanted);
    const deadline = startDeadline(call);
    const { statusCode, headers, body } = await this.#ask(call, streamed, deadline);
    body.once("close", deadline.clear);
    return { status: statusCode, headers, body };
  }

  /** The parsed body of a successful call; throws KubeError for every other status. */
  async json<T>(wanted: Call): Promise<T> {
    const call = this.#withFence(wanted);
    const deadline = startDeadline(call);
    const { statusCode, headers, body } = await this.#ask(call, wholeAnswer, deadline);
    deadline.clear();
    if (statusCode >= 300) throw refusalOf(call.label, { statusCode, headers }, parsed(body));
    try {
      return JSON.parse(body.toString("utf8")) as T;
    } catch (cause) {
      throw new KubeError({ call: call.label, status: 0, cause });
    }
  }

  async #ask<A extends Answer>(call: Call, ask: Ask<A>, deadline: Deadline): Promise<A> {
    try {
      const answer = await this.#askTwice(call, ask, deadline.signal);
      this.#count(call, String(answer.statusCode));
      this.#warn(call, answer.headers.warning);
      return answer;
    } catch (cause) {
      deadline.clear();
      if (call.signal?.aborted) throw call.signal.reason;
      this.#count(call, "<error>");
      throw new KubeError({ call: call.label, status: 0, cause });
    }
  }

  #count({ method }: Call, code: string): void {
    const key = `${method} ${code}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }

  /** A 401 is tried again with credentials read anew, a GET whose connection broke before the answer likewise. */
  async #askTwice<A extends Answer>(call: Call, ask: Ask<A>, signal: AbortSignal): Promise<A> {
    try {
      const answer = await this.#askOnce(call, { ask, signal, stale: false });
      if (answer.statusCode !== 401) return answer;
      if (!Buffer.isBuffer(answer.body)) await answer.body.dump();
    } catch (error) {
      if (signal.aborted || call.method !== "GET") throw error;
    }
    return await this.#askOnce(call, { ask, signal, stale: true });
  }

  async #askOnce<A extends Answer>(
    call: Call,
    { ask, signal, stale }: { ask: Ask<A>; signal: AbortSignal; stale: boolean },
  ): Promise<A> {
    const target = await this.#connection.target(stale);
    // Nothing may come between this look and the request.
    if (call.method !== "GET") this.#fence?.check();
    const url = new URL(`${target.server}${call.path}`);
    const options = {
      origin: url.origin,
      path: `${url.pathname}${queryString(call.query)}`,
      method: call.method,
      headers: headersOf(call, target.headers),
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      // The deadline rules; a watch has its own limit of silence.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    return await ask(dispatcherOf(target, call), options, signal);
  }

  #withFence(call: Call): Call {
    if (!this.#fence || call.method === "GET") return call;
    const { signal } = this.#fence;
    return { ...call, signal: call.signal ? AbortSignal.any([call.signal, signal]) : signal };
  }

  #warn(call: Call, header: string | string[] | undefined): void {
    for (const warning of [header ?? []].flat()) {
      this.#logger.warn({ call: call.label, warning }, "the Kubernetes API warns");
    }
  }
}

function dispatcherOf(target: Target, { query, standby }: Call): Dispatcher {
  if (query?.watch !== true) return target.calls;
  return standby ? target.standbys : target.watches;
}

const streamed: Ask<Dispatcher.ResponseData> = (dispatcher, options, signal) =>
  dispatcher.request({ ...options, signal });

/** Reads the body of an answer that is not a success. */
export async function failureOf(label: string, answer: KubeResponse): Promise<KubeError> {
  const body = await answer.body.json().catch(() => undefined);
  return refusalOf(label, { statusCode: answer.status, headers: answer.headers }, body);
}

function refusalOf(
  label: string,
  { statusCode, headers }: Pick<WholeAnswer, "statusCode" | "headers">,
  body: unknown,
): KubeError {
  const status = body as KubeStatus | undefined;
  const known = status?.kind === "Status" ? { answer: status } : {};
  const retryAfterMs = retryAfterOf(headers["retry-after"], status);
  const retry = retryAfterMs === undefined ? {} : { retryAfterMs };
  return new KubeError({ call: label, status: statusCode, ...known, ...retry });
}

/** Undefined for what is no JSON: a proxy may answer in words of its own. */
function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}

function retryAfterOf(
  header: string | string[] | undefined,
  status: KubeStatus | undefined,
): number | undefined {
  const seconds = Number(header ?? status?.details?.retryAfterSeconds);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined;
}

function headersOf(call: Call, credentials: Record<string, string>): Record<string, string> {
  return {
    ...credentials,
    accept: "application/json",
    "user-agent": "argus",
    ...(call.body === undefined ? {} : { "content-type": call.contentType ?? "application/json" }),
  };
}

function queryString(query: RequestOptions["query"]): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) search.set(name, String(value));
  }
  return search.size === 0 ? "" : `?${search.toString()}`;
}

/** `timeoutMs: 0` sets none. Clears its timer and listener by hand: signals of a process live long. */
function startDeadline({ signal, timeoutMs = CALL_TIMEOUT_MS }: Call): Deadline {
  const abort = new AbortController();
  const onAbort = () => abort.abort(signal?.reason);
  const expire = () =>
    abort.abort(new DOMException(`no answer in ${timeoutMs} ms`, "TimeoutError"));
  const timer = timeoutMs > 0 ? setTimeout(expire, timeoutMs) : undefined;
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  const clear = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
  return { signal: abort.signal, clear };
}
