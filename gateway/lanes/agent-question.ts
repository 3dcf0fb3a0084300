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
/** Questions of one request; Codex asks up to three. */
const MAX_QUESTIONS = 4;
const InputQuestion = z.looseObject({
  id: z.string(),
  header: z.string().nullish(),
  question: z.string(),
  isOther: z.boolean().nullish(),
  isSecret: z.boolean().nullish(),
  options: z
    .array(z.looseObject({ label: z.string().min(1), description: z.string().nullish() }))
    .max(MAX_ASK_CHOICES)
    .nullish(),
});
type InputQuestion = z.infer<typeof InputQuestion>;

/** A question of the app-server as the bridge hands it on. */
export interface AgentQuestion {
  /** The bridge's number of it. */
  id: number;
  threadId: string;
  turnId: string;
  itemId: string;
  /** Asked one after the other. */
  steps: AskWords[];
  /** What the app-server is told, once each step is answered: by the number of a choice or in words. */
  answer: (given: readonly Given[]) => unknown;
}

/** A person's answer. */
export type Given = { choice: number } | { text: string };

/** Undefined = nothing that people in a chat can answer. `changes`: what is known of the item's files. */
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

type Asked = Pick<AgentQuestion, "steps" | "answer">;

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
  return method === INPUT ? inputIn(params.questions) : undefined;
}

function approval(question: string, detail: string, reason?: string | null): Asked {
  const words = {
    question: cut(question, 512),
    detail: shortened(visible(detail)),
    reason: cut(visible(reason ?? ""), 512),
    choices: [ALLOW, REFUSE],
  };
  const answer = ([given]: readonly Given[]) => ({
    decision: given && "choice" in given && given.choice === 0 ? "accept" : "decline",
  });
  return { steps: [words], answer };
}

/** Questions with given answers or free ones. A secret one is not for a chat, which keeps what is written. */
function inputIn(questions: unknown[] = []): Asked | undefined {
  const { data = [] } = z.array(InputQuestion).max(MAX_QUESTIONS).safeParse(questions);
  if (data.length === 0 || data.some(({ isSecret }) => isSecret)) return undefined;
  const answer = (given: readonly Given[]) => ({
    answers: Object.fromEntries(
      data.map((question, step) => [question.id, { answers: wordsGiven(question, given[step]) }]),
    ),
  });
  return { steps: data.map((question, step) => inputWords(question, step, data.length)), answer };
}

function inputWords(
  { header, question, options, isOther }: InputQuestion,
  step: number,
  count: number,
): AskWords {
  const title = cut(visible(header || "The agent asks:"), 480);
  const about = (options ?? []).flatMap(({ label, description }) =>
    description ? [`${label}: ${description}`] : [],
  );
  const isFree = isOther || !options?.length;
  return {
    question: count > 1 ? `${title} (${step + 1} of ${count})` : title,
    detail: shortened(visible([question, ...about].join("\n"))),
    reason: "",
    choices: (options ?? []).map(({ label }) => cut(visible(label), 64)),
    ...(isFree ? { free: true } : {}),
  };
}

function wordsGiven({ options }: InputQuestion, given: Given | undefined): string[] {
  if (!given) return [];
  const words = "text" in given ? given.text : options?.[given.choice]?.label;
  return words === undefined ? [] : [words];
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
