/** What a conversation wants a person to see; text is as received, the transcript makes it safe. */
export type Shown =
  /** About the connection or the session, not from the agent. */
  | { kind: "status"; text: string }
  | { kind: "error"; text: string }
  /** A part of the agent's answer. */
  | { kind: "agent"; text: string }
  | { kind: "thinking"; text: string }
  | { kind: "command"; text: string }
  | { kind: "output"; text: string }
  | { kind: "note"; text: string }
  /** Another client's message in this thread. */
  | { kind: "user"; text: string };

export type TurnEnd = "completed" | "interrupted" | "failed" | "unknown";

/** A question that the agent waits with. */
export interface Approval {
  id: unknown;
  /** What would happen, for example the command line. */
  what: string;
  reason?: string;
}

export const DECISIONS = { y: "accept", n: "decline", a: "acceptForSession" } as const;
export type Decision = (typeof DECISIONS)[keyof typeof DECISIONS];
