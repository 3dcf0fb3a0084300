import { randomUUID } from "node:crypto";
import { ApprovalAnswer, type ApprovalRequest } from "#protocol/node.ts";
import { NodeError } from "./node-error.ts";

/** Questions that wait for the owner. */
export const MAX_APPROVALS = 32;
/** Without another word of the call. */
export const APPROVAL_TTL_MS = 5 * 60_000;

export type Question = Omit<ApprovalRequest, "approvalId" | "expiresInMs">;
interface Waiting {
  question: Question;
  deadline: number;
  settle: (decision: "accept" | "decline") => void;
}

/** What the device's policy wants asked. No answer by the deadline is a refusal; a reconnect asks again, with the time that is left. */
export class Approvals {
  readonly #waiting = new Map<string, Waiting>();
  #send: ((request: ApprovalRequest) => void) | undefined;

  /** A gateway that can ask is there (or, undefined, gone). */
  attach(send: ((request: ApprovalRequest) => void) | undefined): void {
    this.#send = send;
    for (const id of this.#waiting.keys()) this.#ask(id);
  }

  /** Resolves when it was allowed; throws NodeError DENIED or CANCELED. */
  async allowed(question: Question, ttlMs: number, signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= MAX_APPROVALS) throw new NodeError("BUSY", "too many open approvals");
    if (!this.#send)
      throw new NodeError(
        "DENIED",
        "this device asks before it runs that, and nobody can be asked",
      );
    const approvalId = randomUUID();
    const decision = await this.#decision(approvalId, question, ttlMs, signal);
    if (decision === "accept") return;
    if (decision === "canceled") throw new NodeError("CANCELED", "withdrawn before it was allowed");
    const why = decision === "decline" ? "the owner declined" : `no answer within ${ttlMs} ms`;
    throw new NodeError("DENIED", why);
  }

  #decision(id: string, question: Question, ttlMs: number, signal: AbortSignal) {
    return new Promise<"accept" | "decline" | "canceled" | "expired">((resolve) => {
      const settle = (decision: "accept" | "decline" | "canceled" | "expired") => {
        clearTimeout(timer);
        signal.removeEventListener("abort", cancel);
        this.#waiting.delete(id);
        resolve(decision);
      };
      const cancel = () => settle("canceled");
      const timer = setTimeout(() => settle("expired"), ttlMs);
      signal.addEventListener("abort", cancel, { once: true });
      this.#waiting.set(id, { question, deadline: performance.now() + ttlMs, settle });
      if (signal.aborted) cancel();
      else this.#ask(id);
    });
  }

  #ask(approvalId: string): void {
    const waiting = this.#waiting.get(approvalId);
    if (!waiting) return;
    const expiresInMs = Math.max(1, Math.round(waiting.deadline - performance.now()));
    this.#send?.({ approvalId, ...waiting.question, expiresInMs });
  }

  answer(payload: unknown): void {
    const { approvalId, decision } = ApprovalAnswer.parse(payload);
    this.#waiting.get(approvalId)?.settle(decision);
  }
}
