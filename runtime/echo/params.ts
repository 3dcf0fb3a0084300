import { z } from "zod";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { Refusal } from "./wire.ts";

const MAX_TEXT_CHARACTERS = 1_048_576;

const threadId = z.string();
const Input = z.array(z.looseObject({ type: z.string(), text: z.string().optional() }));
const Page = {
  cursor: z.string().nullish(),
  limit: z.int().min(1).nullish(),
  sortDirection: z.enum(["asc", "desc"]).nullish(),
};
const Policy = {
  cwd: z.string().nullish(),
  approvalPolicy: z.string().nullish(),
};
const SandboxName = z.enum(["read-only", "workspace-write", "danger-full-access"]);

export const Params = {
  initialize: z.object({
    clientInfo: z.object({ name: z.string() }),
    capabilities: z.object({ experimentalApi: z.boolean().nullish() }).nullish(),
  }),
  thread: z.object({ threadId }),
  threadStart: z.object({ ...Policy, sandbox: SandboxName.nullish() }),
  threadResume: z.object({
    ...Policy,
    threadId,
    excludeTurns: z.boolean().nullish(),
    sandbox: SandboxName.nullish(),
  }),
  threadRead: z.object({ threadId, includeTurns: z.boolean().nullish() }),
  threadList: z.object({ ...Page, archived: z.boolean().nullish() }),
  threadName: z.object({ threadId, name: z.string() }),
  turnsList: z.object({
    ...Page,
    threadId,
    itemsView: z.enum(["full", "summary", "notLoaded"]).nullish(),
  }),
  itemsList: z.object({ ...Page, threadId, turnId: z.string().nullish() }),
  turnStart: z.object({
    ...Policy,
    threadId,
    input: Input,
    clientUserMessageId: z.string().nullish(),
  }),
  turnSteer: z.object({
    threadId,
    expectedTurnId: z.string(),
    input: Input,
    clientUserMessageId: z.string().nullish(),
  }),
  turnInterrupt: z.object({ threadId, turnId: z.string() }),
  any: z.unknown(),
} as const;

/** Throws a Refusal in Codex's words: the first thing that is wrong. */
export function readParams<T>(schema: z.ZodType<T>, params: unknown): T {
  const parsed = schema.safeParse(params ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.join(".") ?? "";
  const missing = issue?.code === "invalid_type" && at(params, issue.path) === undefined;
  const what = missing ? `missing field \`${path}\`` : `${issue?.message} at \`${path}\``;
  throw new Refusal(`Invalid request: ${what}`);
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inside, key) =>
      typeof inside === "object" && inside !== null
        ? (inside as Record<PropertyKey, unknown>)[key]
        : undefined,
    value,
  );
}

/** Throws a Refusal when the text of a message is longer than Codex takes. */
export function checkInputSize(input: z.infer<typeof Input>): void {
  const characters = input.reduce((total, { text = "" }) => total + text.length, 0);
  if (characters <= MAX_TEXT_CHARACTERS) return;
  throw new Refusal(`Input exceeds the maximum length of ${MAX_TEXT_CHARACTERS} characters.`, {
    code: RPC_ERROR.invalidParams,
    data: {
      input_error_code: "input_too_large",
      max_chars: MAX_TEXT_CHARACTERS,
      actual_chars: characters,
    },
  });
}

/** One page of `rows`; a cursor is the number of rows before it. Throws a Refusal for a cursor that is none. */
export function page<T>(
  rows: readonly T[],
  { cursor, limit }: { cursor?: string | null | undefined; limit?: number | null | undefined },
): { data: T[]; nextCursor: string | null } {
  const from = cursor ? Number(cursor) : 0;
  if (!Number.isSafeInteger(from) || from < 0) throw new Refusal(`invalid cursor: ${cursor}`);
  const to = from + Math.min(limit ?? 25, 100);
  return { data: rows.slice(from, to), nextCursor: to < rows.length ? String(to) : null };
}
