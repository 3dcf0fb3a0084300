import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import type { ApprovalRequest } from "#protocol/node.ts";
import type { ApprovalRow } from "#protocol/node-methods.ts";
import type { NodeLink } from "./link.ts";

/** Questions of one node that are remembered. */
const MAX_NODE_APPROVALS = 64;

/** A command that waits for its owner's word, and whose agent asks for it. */
export interface Question {
  row: ApprovalRow;
  session: ArgusSession;
}

/** `by` says for people who decided. Without an answer by the deadline the device refuses by itself: `expired`. */
export type ApprovalEnd =
  | { how: "accept" | "decline"; by: string }
  /** Nobody needs the answer any more: the call ended, the device was started anew or revoked. */
  | { how: "expired" | "withdrawn" };

/** Whoever can show questions to people. A restart of the gateway tells those that are open again, with the same `approvalId`. */
export interface ApprovalListener {
  /** Once for each question, however often its device repeats it. */
  asked?: (question: Question) => void;
  /** Once, last. */
  ended?: (question: Question, end: ApprovalEnd) => void;
}

interface Open extends Question {
  invokeId: string;
  boot: string | undefined;
  /** Undefined while the device is away. */
  link: NodeLink | undefined;
  /** Kept until the call ends: a device that did not hear it asks again. */
  decision: "accept" | "decline" | undefined;
  timer: NodeJS.Timeout;
}

/** What devices ask their owners, over any number of their connections. */
export class Approvals {
  readonly #open = new Map<string, Open>();
  readonly #listeners = new Set<{ listener: ApprovalListener }>();

  /** Of all sessions. Returns the unsubscribe function. */
  watch(listener: ApprovalListener): () => void {
    const entry = { listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Takes a question up, or its repeat. One too many is not shown: the device refuses it at its deadline. */
  asked(request: ApprovalRequest, link: NodeLink, session: ArgusSession): void {
    const known = this.#open.get(`${link.nodeId}/${request.approvalId}`);
    if (!known) return this.#begin(request, link, session);
    known.link = link;
    tell(known);
  }

  #begin(request: ApprovalRequest, link: NodeLink, session: ArgusSession): void {
    const { approvalId, invokeId, command, summary, cwd, expiresInMs } = request;
    const { nodeId, boot } = link;
    if (this.#of(nodeId).length >= MAX_NODE_APPROVALS) return;
    const expiresAtMs = Date.now() + expiresInMs;
    const row: ApprovalRow = { approvalId, nodeId, command, summary, cwd, expiresAtMs };
    const timer = setTimeout(() => this.#end(open, { how: "expired" }), expiresInMs);
    // What is open when the gateway stops is asked again of the next one.
    timer.unref();
    const open: Open = { row, session, invokeId, boot, link, decision: undefined, timer };
    this.#open.set(keyOf(row), open);
    for (const { listener } of this.#listeners) listener.asked?.(open);
  }

  /** Of the session's devices, oldest first. */
  rows({ metadata }: ArgusSession, nodeIds: readonly string[]): ApprovalRow[] {
    return [...this.#open.values()]
      .filter(({ session, decision }) => session.metadata.uid === metadata.uid && !decision)
      .filter(({ row }) => nodeIds.includes(row.nodeId))
      .map(({ row }) => row);
  }

  /** The first word counts. Throws `NotFound` for a question that is not open. */
  answer(row: ApprovalRow, decision: "accept" | "decline", by: string): void {
    const open = this.#open.get(keyOf(row));
    if (!open || open.decision) {
      throw new ArgusError("NotFound", `Question ${row.approvalId} is not open any more.`);
    }
    open.decision = decision;
    this.#told(open, { how: decision, by });
    tell(open);
  }

  /** A device that was started anew has forgotten what it asked. */
  connected({ nodeId, boot }: NodeLink): void {
    for (const open of this.#of(nodeId)) if (open.boot !== boot) this.#withdraw(open);
  }

  disconnected(link: NodeLink): void {
    for (const open of this.#of(link.nodeId)) if (open.link === link) open.link = undefined;
  }

  callEnded(nodeId: string, invokeId: string): void {
    for (const open of this.#of(nodeId)) if (open.invokeId === invokeId) this.#withdraw(open);
  }

  /** The device, or what `gone` says of it, is nobody's any more. */
  endThose(nodeId: string, gone: (session: ArgusSession) => boolean): void {
    for (const open of this.#of(nodeId)) if (gone(open.session)) this.#withdraw(open);
  }

  #of(nodeId: string): Open[] {
    return [...this.#open.values()].filter(({ row }) => row.nodeId === nodeId);
  }

  #withdraw(open: Open): void {
    this.#end(open, { how: "withdrawn" });
  }

  #end(open: Open, end: ApprovalEnd): void {
    clearTimeout(open.timer);
    this.#open.delete(keyOf(open.row));
    if (!open.decision) this.#told(open, end);
  }

  #told(open: Open, end: ApprovalEnd): void {
    for (const { listener } of this.#listeners) listener.ended?.(open, end);
  }
}

const keyOf = ({ nodeId, approvalId }: ApprovalRow) => `${nodeId}/${approvalId}`;

function tell({ row: { approvalId }, decision, link }: Open): void {
  if (decision) link?.send("node.approval.answer", { approvalId, decision });
}
