import { InvokeResult, type NodeFailure } from "#protocol/node.ts";
import type { NodeLink } from "./link.ts";

/** Calls of one node that have no answer. */
export const MAX_OPEN_CALLS = 128;

/** What became of a call, as the node or (without an answer) the gateway says. */
export interface Outcome {
  ok: boolean;
  payload: unknown;
  error: { code: string; message: string; jobId?: string } | null;
}

export interface Call {
  /** The same for a repeat of the call. */
  id: string;
  sessionUid: string;
  sessionId: string;
  command: string;
  by: "person" | "agent";
  paramsJSON: string;
  /** How long an answer is waited for. */
  timeoutMs: number;
  /** How long a question to the owner may stay open. */
  approvalMs: number;
  /** How long the node may take to come back before anything was sent. */
  waitMs: number;
}

interface Pending {
  call: Call;
  outcome: Promise<Outcome>;
  settle: (outcome: Outcome) => void;
  /** The node-host's run that got it; undefined = nobody did. */
  boot: string | undefined;
  sent: boolean;
  canceled: boolean;
  timer: NodeJS.Timeout | undefined;
}

/** What may be asked again of a node-host that was started anew: it looks only, or its job is found by the call's id. */
export const REPEATABLE: ReadonlySet<string> = new Set([
  "system.run",
  "system.which",
  "process.list",
  "process.get",
  "process.logs",
  "process.kill",
  "process.resize",
  "file.read",
  "file.list",
]);

/**
 * The calls of one node, over any number of its connections: each ends with the node's answer, or with the reason why nobody
 * knows one. A cut ends none of them: the node is asked again by the same id, which it answers once.
 */
export class NodeCalls {
  readonly #calls = new Map<string, Pending>();

  get size(): number {
    return this.#calls.size;
  }

  /** The outcome of the call, or of the same one that is open. Never rejects. */
  start(call: Call, link: NodeLink | undefined): Promise<Outcome> {
    const open = this.#calls.get(call.id);
    if (open) return open.outcome;
    if (this.#calls.size >= MAX_OPEN_CALLS) return Promise.resolve(failure("BUSY", TOO_MANY));
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const pending: Pending = {
      call,
      outcome: promise,
      settle: (outcome) => {
        clearTimeout(pending.timer);
        this.#calls.delete(call.id);
        resolve(outcome);
      },
      boot: undefined,
      sent: false,
      canceled: false,
      timer: undefined,
    };
    this.#calls.set(call.id, pending);
    if (link) this.#send(pending, link);
    else this.#endAfter(pending, call.waitMs);
    return promise;
  }

  /** Withdraws a call: what waits does not start, a program that it started is ended. */
  cancel(id: string, link: NodeLink | undefined): void {
    const pending = this.#calls.get(id);
    if (!pending || pending.canceled) return;
    if (!pending.sent) return pending.settle(failure("CANCELED", "withdrawn; nothing ran"));
    pending.canceled = true;
    if (link?.can("cancel")) link.send("node.invoke.cancel", { id });
  }

  /** The owner is being asked: the answer may take as long as that, and then the call's own time. */
  asked(id: string, expiresInMs: number): void {
    const pending = this.#calls.get(id);
    if (pending) this.#endAfter(pending, expiresInMs + pending.call.timeoutMs);
  }

  /** Returns the id of the call that this ends. */
  answered(payload: unknown, link: NodeLink): string | undefined {
    const { success, data } = InvokeResult.safeParse(payload);
    if (!success || data.nodeId !== link.nodeId) return undefined;
    const { error, payloadJSON } = data;
    const value = data.payload ?? parsed(payloadJSON);
    const told = error ? refusal(error) : null;
    this.#calls.get(data.id)?.settle({ ok: data.ok, payload: value ?? null, error: told });
    return data.id;
  }

  connected(link: NodeLink): void {
    for (const pending of this.#calls.values()) {
      const { boot, sent, call } = pending;
      if (sent && boot !== link.boot && !REPEATABLE.has(call.command)) {
        pending.settle(unknown("the node-host was started again before it answered"));
      } else this.#send(pending, link);
    }
  }

  /** Whoever does not remember calls cannot be asked again. */
  disconnected(link: NodeLink): void {
    if (link.boot !== undefined) return;
    for (const pending of this.#calls.values()) {
      if (pending.sent) pending.settle(failure("NODE_DISCONNECTED", LOST));
    }
  }

  /** Ends the calls of which `gone` says so; the node is told to stop them. */
  endThose(gone: (call: Call) => boolean, why: string, link: NodeLink | undefined): void {
    for (const pending of this.#calls.values()) {
      if (!gone(pending.call)) continue;
      this.cancel(pending.call.id, link);
      pending.settle(unknown(why));
    }
  }

  #send(pending: Pending, link: NodeLink): void {
    const { call, canceled } = pending;
    if (canceled) return link.send("node.invoke.cancel", { id: call.id });
    if (!pending.sent) this.#endAfter(pending, call.timeoutMs);
    pending.sent = true;
    pending.boot = link.boot;
    const { id, command, by, paramsJSON, approvalMs: timeoutMs, sessionId } = call;
    const { nodeId } = link;
    const asked = { id, nodeId, command, by, paramsJSON, timeoutMs, sessionId };
    link.send("node.invoke.request", asked);
  }

  #endAfter(pending: Pending, ms: number): void {
    clearTimeout(pending.timer);
    pending.timer = setTimeout(() => {
      if (!pending.sent) return pending.settle(failure("NOT_CONNECTED", NOT_SENT));
      pending.settle(failure("TIMEOUT", `no answer within ${ms} ms; whether it ran is not known`));
    }, ms);
  }
}

const TOO_MANY = `${MAX_OPEN_CALLS} calls of this device are open already; nothing ran`;
const NOT_SENT = "the device is not connected; nothing was sent to it";
const LOST = "the connection was lost before the answer; whether it ran is not known";

export const failure = (code: string, message: string): Outcome => ({
  ok: false,
  payload: null,
  error: { code, message },
});
const refusal = ({ code, message = code, jobId }: NodeFailure) => ({
  code,
  message,
  ...(jobId === undefined ? {} : { jobId }),
});
const unknown = (why: string) => failure("OUTCOME_UNKNOWN", `${why}; whether it ran is not known`);

function parsed(text: string | null | undefined): unknown {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
