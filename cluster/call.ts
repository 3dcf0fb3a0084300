import type { Dispatcher } from "undici";
import type { Logger } from "#lib/logger.ts";
import type { Connection } from "./connection.ts";
import { KubeError, type KubeStatus } from "./kube-error.ts";
import type { Fence, KubeResponse, RequestOptions } from "./types.ts";

/** Deadline of a call that names none, body included. */
export const CALL_TIMEOUT_MS = 30_000;

export interface Call extends RequestOptions {
  method: string;
  /** Path without a query. */
  path: string;
  /** For messages: `create pods default/main`. */
  label: string;
}

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

  fenced(fence: Fence): Caller {
    return new Caller(this.#connection, this.#logger, { fence, counts: this.counts });
  }

  /** The answer, whatever its status; the caller must read or dump the body. Throws KubeError when none came. */
  async send(wanted: Call): Promise<KubeResponse> {
    const call = this.#withFence(wanted);
    const deadline = startDeadline(call);
    try {
      const answer = await this.#sendTwice(call, deadline.signal);
      this.#count(call, String(answer.statusCode));
      this.#warn(call, answer.headers.warning);
      answer.body.once("close", deadline.clear);
      return { status: answer.statusCode, headers: answer.headers, body: answer.body };
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

  /** The parsed body of a successful call; throws KubeError for every other status. */
  async json<T>(call: Call): Promise<T> {
    const { signal } = this.#withFence(call);
    const answer = await this.send(call);
    if (answer.status >= 300) throw await failureOf(call.label, answer);
    try {
      return (await answer.body.json()) as T;
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw new KubeError({ call: call.label, status: 0, cause });
    }
  }

  /** A 401 is tried again with credentials read anew, a GET whose connection broke before the answer likewise. */
  async #sendTwice(call: Call, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    try {
      const answer = await this.#sendOnce(call, signal, false);
      if (answer.statusCode !== 401) return answer;
      await answer.body.dump();
    } catch (error) {
      if (signal.aborted || call.method !== "GET") throw error;
    }
    return await this.#sendOnce(call, signal, true);
  }

  async #sendOnce(call: Call, signal: AbortSignal, stale: boolean) {
    const target = await this.#connection.target(stale);
    // Nothing may come between this look and the request.
    if (call.method !== "GET") this.#fence?.check();
    const watch = call.query?.watch === true;
    const dispatcher = watch ? target.watches : target.calls;
    const url = new URL(`${target.server}${call.path}`);
    return await dispatcher.request({
      origin: url.origin,
      path: `${url.pathname}${queryString(call.query)}`,
      method: call.method,
      headers: headersOf(call, target.headers),
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      signal,
      // The deadline rules; a watch has its own limit of silence.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
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

/** Reads the body of an answer that is not a success. */
export async function failureOf(label: string, answer: KubeResponse): Promise<KubeError> {
  const body = await answer.body.json().catch(() => undefined);
  const status = body as KubeStatus | undefined;
  const known = status?.kind === "Status" ? { answer: status } : {};
  const retryAfterMs = retryAfterOf(answer.headers["retry-after"], status);
  return new KubeError({
    call: label,
    status: answer.status,
    ...known,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
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
