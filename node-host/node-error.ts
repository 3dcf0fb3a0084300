import type { NodeErrorCode } from "#protocol/node.ts";

/** An answer that says no: `code` is for programs, the message says what happened and what to do. */
export class NodeError extends Error {
  readonly code: NodeErrorCode;
  /** The job that the call had started. */
  readonly jobId: string | undefined;
  constructor(code: NodeErrorCode, message: string, jobId?: string) {
    super(message);
    this.jobId = jobId;
    this.name = "NodeError";
    this.code = code;
  }
}
