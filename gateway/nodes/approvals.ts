import { ApprovalRequest } from "#protocol/node.ts";
import type { ApprovalRow } from "#protocol/node-methods.ts";
import type { NodeLink } from "./link.ts";

/** Questions of one node that are remembered. */
const MAX_NODE_APPROVALS = 64;

interface Open {
  row: ApprovalRow;
  sessionId: string;
  timer: NodeJS.Timeout;
}

/** What a node asks its owner. It asks again after a cut; no answer by the deadline is a refusal, which the node itself decides. */
export class NodeApprovals {
  readonly #open = new Map<string, Open>();

  /** Undefined: it is not valid, names no session, or is one too many (the node refuses it at its deadline). */
  asked(
    payload: unknown,
    link: NodeLink,
  ): { request: ApprovalRequest; row: ApprovalRow; sessionId: string } | undefined {
    const { data: request } = ApprovalRequest.safeParse(payload);
    if (!request || request.sessionId === null) return undefined;
    const { approvalId, command, summary, cwd, expiresInMs, sessionId } = request;
    this.#forget(approvalId);
    if (this.#open.size >= MAX_NODE_APPROVALS) return undefined;
    const row: ApprovalRow = {
      approvalId,
      nodeId: link.nodeId,
      command,
      summary,
      cwd,
      expiresAtMs: Date.now() + expiresInMs,
    };
    const timer = setTimeout(() => this.#forget(approvalId), expiresInMs);
    this.#open.set(approvalId, { row, sessionId, timer });
    return { request, row, sessionId };
  }

  rows(sessionId: string): ApprovalRow[] {
    return [...this.#open.values()]
      .filter((each) => each.sessionId === sessionId)
      .map(({ row }) => row);
  }

  answer(approvalId: string, decision: "accept" | "decline", link: NodeLink): void {
    this.#forget(approvalId);
    link.send("node.approval.answer", { approvalId, decision });
  }

  /** The connection is gone; a node that comes back asks again. */
  clear(): void {
    for (const id of this.#open.keys()) this.#forget(id);
  }

  #forget(id: string): void {
    clearTimeout(this.#open.get(id)?.timer);
    this.#open.delete(id);
  }
}
