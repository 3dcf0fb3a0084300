import type { NodeErrorCode } from "#protocol/node.ts";

/** An answer that says no: `code` is for programs, the message says what happened and what to do. */
export class NodeError extends Error {
  readonly code: NodeErrorCode;
  constructor(code: NodeErrorCode, message: string) {
    super(message);
    this.name = "NodeError";
    this.code = code;
  }
}
