import { randomUUID } from "node:crypto";
import type { Answer, Asks } from "./asks.ts";
import type { Item } from "./shapes.ts";

export interface CommandItem extends Item {
  command: string;
  cwd: string;
  status: "inProgress" | "completed" | "declined" | "failed";
  aggregatedOutput: string | null;
  exitCode: number | null;
}

/** What an answer makes of the item, of the turn, and what is said then. */
export interface Outcome {
  change: Pick<CommandItem, "status" | "aggregatedOutput" | "exitCode">;
  interrupts: boolean;
  words: string;
}

const shellQuote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

export function commandItem(command: string, cwd: string): CommandItem {
  return {
    type: "commandExecution",
    id: `call_${randomUUID()}`,
    command: `/bin/bash -lc ${shellQuote(command)}`,
    cwd,
    processId: null,
    source: "agent",
    status: "inProgress",
    commandActions: [{ type: "unknown", command }],
    aggregatedOutput: null,
    exitCode: null,
    durationMs: null,
    startedAtMs: Date.now(),
    completedAtMs: null,
  };
}

export interface AskOptions {
  asks: Asks;
  item: CommandItem;
  params: { threadId: string; turnId: string };
  signal: AbortSignal;
}

/** Asks whether the command may run. Rejects with the signal's reason. */
export async function askApproval({ asks, item, params, signal }: AskOptions): Promise<Outcome> {
  const answer = await asks.ask(
    {
      threadId: params.threadId,
      method: "item/commandExecution/requestApproval",
      params: {
        kind: "command",
        ...params,
        itemId: item.id,
        startedAtMs: item.startedAtMs,
        environmentId: "local",
        reason: "You asked the echo to ask you.",
        command: item.command,
        cwd: item.cwd,
        commandActions: item.commandActions,
        availableDecisions: ["accept", "decline", "cancel"],
      },
    },
    signal,
  );
  return outcomeOf(decisionOf(answer));
}

function decisionOf(answer: Answer): unknown {
  const result: unknown = answer?.result;
  return typeof result === "object" && result !== null && "decision" in result
    ? result.decision
    : undefined;
}

const OUTPUT = "(nothing was run: this is an echo)\n";
const unrun = { aggregatedOutput: null, exitCode: null };

/** As Codex takes it: an error or an unknown decision fails the command, the turn goes on. */
export function outcomeOf(decision: unknown): Outcome {
  switch (decision) {
    case "accept":
    case "acceptForSession": {
      const change = { status: "completed", aggregatedOutput: OUTPUT, exitCode: 0 } as const;
      return { change, interrupts: false, words: "echo: you allowed it" };
    }
    case "decline":
    case "cancel": {
      const change = { status: "declined", ...unrun } as const;
      return { change, interrupts: decision === "cancel", words: "echo: you declined it" };
    }
    default: {
      const change = { status: "failed", ...unrun } as const;
      return { change, interrupts: false, words: "echo: the approval request failed" };
    }
  }
}
