import type { Said } from "./words.ts";

/** What the fake model does with one request. */
export type Act =
  | { kind: "say"; deltas: string[]; pauseMs: number; reasoning?: string }
  | { kind: "call"; arguments: ExecArguments }
  | { kind: "tool"; name: string; namespace?: string; arguments: string }
  | { kind: "status"; status: number }
  | { kind: "failed"; code: string }
  | { kind: "stall" }
  | { kind: "cut" };

/** Arguments of Codex's exec_command tool. */
export interface ExecArguments {
  cmd: string;
  yield_time_ms: number;
  sandbox_permissions?: "require_escalated";
  justification?: string;
}

const SLOW_PAUSE_MS = 100;
const WAIT_FOR_COMMAND_MS = 20_000;
const LEAVE_IN_BACKGROUND_MS = 250;
const MAX_BIG_KIB = 65_536;

const say = (text: string, reasoning?: string): Act => ({
  kind: "say",
  deltas: text.match(/\S*\s*/gu)?.filter(Boolean) ?? [],
  pauseMs: 0,
  ...(reasoning === undefined ? {} : { reasoning }),
});

const codeAnswer = (lines: number): string =>
  [
    "Here is the code:",
    `\`\`\`ts\n${Array.from({ length: lines }, (_, index) => `const value${index} = "<${index} & more>";`).join("\n")}\n\`\`\``,
    "That is all of it.",
  ].join("\n\n");

const verbs: Record<string, (rest: string) => Act> = {
  run: (cmd) => ({ kind: "call", arguments: { cmd, yield_time_ms: WAIT_FOR_COMMAND_MS } }),
  background: (cmd) => ({
    kind: "call",
    arguments: { cmd, yield_time_ms: LEAVE_IN_BACKGROUND_MS },
  }),
  escalate: (cmd) => ({
    kind: "call",
    arguments: {
      cmd,
      yield_time_ms: WAIT_FOR_COMMAND_MS,
      sandbox_permissions: "require_escalated",
      justification: `May I run this outside the sandbox: ${cmd}?`,
    },
  }),
  slow: (count) => ({
    kind: "say",
    deltas: Array.from(
      { length: Number.parseInt(count, 10) || 1 },
      (_, index) => `word${index + 1} `,
    ),
    pauseMs: SLOW_PAUSE_MS,
  }),
  big: (kib) => ({
    kind: "say",
    deltas: Array.from({ length: Math.min(Number(kib) || 1, MAX_BIG_KIB) }, () => "x".repeat(1024)),
    pauseMs: 0,
  }),
  code: (lines) => say(codeAnswer(Number(lines) || 1)),
  // A number is an HTTP status, a word the code of a failed response.
  fail: (reason) =>
    /^\d{3}$/.test(reason)
      ? { kind: "status", status: Number(reason) }
      : { kind: "failed", code: reason || "server_error" },
  reasoning: (text) => say(`You said: ${text}`, `Thinking about ${text || "nothing"}.`),
  tool: (rest) => {
    const [, name = "", args] = /^(\S+)\s*(.*)$/s.exec(rest) ?? [];
    const [namespace, short] = name.split("/");
    const call = { kind: "tool", arguments: args || "{}" } as const;
    return short ? { ...call, namespace, name: short } : { ...call, name };
  },
  stall: () => ({ kind: "stall" }),
  cut: () => ({ kind: "cut" }),
};

/**
 * Turns the person's words into an act: `run: ls`, `slow: 20`, `stall`, `fail: 500`, …; anything else is
 * answered with `You said: …`. Once a tool has answered, its output is the message.
 */
export function decide({ words, outputs }: Said): Act {
  const output = outputs.at(-1);
  if (output !== undefined && words.startsWith("tool:")) return say(`The tool said: ${output}`);
  if (output !== undefined) return say(`The command said:\n${output}`);
  const verb = /^(\w+)(?::\s*|$)/.exec(words);
  const act = verb ? verbs[verb[1]?.toLowerCase() ?? ""] : undefined;
  return act && verb ? act(words.slice(verb[0].length).trim()) : say(`You said: ${words}`);
}
