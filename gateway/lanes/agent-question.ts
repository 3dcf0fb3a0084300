import { z } from "zod";
import { ALLOW, type AskWords, MAX_ASK_CHOICES, MAX_ASK_DETAIL, REFUSE } from "#protocol/ask.ts";
import { commandWords } from "./command-words.ts";

// What an app-server asks a person, in words with choices, and each choice in its own terms. Pure.

const COMMAND = "item/commandExecution/requestApproval";
const FILES = "item/fileChange/requestApproval";
const INPUT = "item/tool/requestUserInput";

const Params = z.looseObject({
  threadId: z.string(),
  turnId: z.string(),
  itemId: z.string().optional(),
  reason: z.string().nullish(),
  command: z.string().nullish(),
  cwd: z.string().nullish(),
  grantRoot: z.string().nullish(),
  questions: z.array(z.unknown()).optional(),
});
const Choosable = z.looseObject({
  id: z.string(),
  header: z.string().nullish(),
  question: z.string(),
  options: z
    .array(z.looseObject({ label: z.string().min(1) }))
    .min(1)
    .max(MAX_ASK_CHOICES),
});

/** A question of the app-server as the bridge hands it on. */
export interface AgentQuestion {
  /** The bridge's number of it. */
  id: number;
  threadId: string;
  turnId: string;
  itemId: string;
  words: AskWords;
  /** The answer that a choice stands for. */
  answers: unknown[];
}

/** Undefined = nothing that a choice between a few words answers. `changes`: what is known of the item's files. */
export function readQuestion(
  id: number,
  {
    method,
    params,
    changes,
  }: {
    method: string;
    params: unknown;
    changes: (turnId: string, itemId: string) => string | undefined;
  },
): AgentQuestion | undefined {
  const { data } = Params.safeParse(params);
  if (!data) return undefined;
  const { threadId, turnId, itemId = "" } = data;
  const asked = askedIn(method, data, changes(turnId, itemId));
  return asked && { id, threadId, turnId, itemId, ...asked };
}

type Asked = Pick<AgentQuestion, "words" | "answers">;

function askedIn(method: string, params: z.infer<typeof Params>, changes = ""): Asked | undefined {
  const { command, cwd, reason, grantRoot } = params;
  if (method === COMMAND) {
    const where = cwd ? ` in ${visible(cwd)}` : "";
    return approval(
      `May I run this command${where}?`,
      command ? commandWords(command) : "(it does not say which)",
      reason,
    );
  }
  if (method === FILES) {
    const root = grantRoot ? ` I also ask to write below ${visible(grantRoot)} from now on.` : "";
    return approval(
      `May I change these files?${root}`,
      changes || "(it does not say which)",
      reason,
    );
  }
  return method === INPUT ? choiceIn(params.questions) : undefined;
}

function approval(question: string, detail: string, reason?: string | null): Asked {
  const words = {
    question: cut(question, 512),
    detail: shortened(visible(detail)),
    reason: cut(visible(reason ?? ""), 512),
    choices: [ALLOW, REFUSE],
  };
  return { words, answers: [{ decision: "accept" }, { decision: "decline" }] };
}

/** One question with given answers; several, or one to be answered freely, are for a program with a form. */
function choiceIn(questions: unknown[] = []): Asked | undefined {
  const { data } = Choosable.safeParse(questions[0]);
  if (!data || questions.length !== 1) return undefined;
  const { id, header, question, options } = data;
  const labels = options.map(({ label }) => label);
  const words = {
    question: cut(visible(header || "The agent asks:"), 512),
    detail: shortened(visible(question)),
    reason: "",
    choices: labels.map((label) => cut(visible(label), 64)),
  };
  return { words, answers: labels.map((label) => ({ answers: { [id]: { answers: [label] } } })) };
}

/** Whoever decides sees every character: nothing may be hidden, turned around or written over. */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) =>
    character === "\n" || character === "\t"
      ? character
      : `\\u{${character.codePointAt(0)?.toString(16) ?? "?"}}`,
  );
}

/** Says what is not shown: what is hidden must not be allowed by mistake. */
export function shortened(text: string): string {
  if (text.length <= MAX_ASK_DETAIL) return text;
  const room = MAX_ASK_DETAIL - 80;
  return `${cut(text, room)}\n… and ${text.length - room} more characters that are not shown here`;
}

/** Never half a character. */
function cut(text: string, length: number): string {
  return text.slice(0, length).toWellFormed();
}
