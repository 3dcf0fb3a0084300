import { ArgusError, type ErrorCode, errorMessage } from "#lib/errors.ts";

// What people read in the chat: plain words, and what they can do.

export const WORDS = {
  welcome:
    "Hello! Write to me as to a colleague; I answer when I am done. /help shows what else you can say.",
  askConsent:
    "An owner can let me in here: write /start, and I answer in this group when I am named.",
  groupReady: "I am here. Name me or answer one of my messages when you want something.",
  tooFast: "That was a lot at once: this message was not taken. Wait a minute and send it again.",
  nothingRuns: "Nothing is running.",
  stopping: "I stop it.",
  fresh:
    "A new conversation begins with your next message. The old one stays in the agent's history.",
  failed:
    "Something went wrong on my side, and this was not taken. Try it again; if it stays so, tell the owner to look at the log.",
} as const;

export function pairingWords(code: string): string {
  return `I do not know you yet. Give my owner this code, it is good for an hour:\n\n${code}\n\nThey let you in by writing “/approve ${code}” to me, or with: argus people approve ${code}`;
}

/** Of a running turn, as the gateway and as the chat say it. */
const STATUS: readonly [RegExp, string][] = [
  [/^The running turn executes /, "I am running "],
  [/^The running turn waits for /, "I wait for "],
  [/^The running turn is being stopped: .*$/s, "I am stopping."],
  [/^A turn is running\.$/, "I am at work."],
];

/** What a running turn does, in Markdown and at most `most` characters; words that are not known stay as they are. Pure. */
export function statusWords(words: string, most: number): string {
  const [pattern, own = ""] = STATUS.find(([known]) => known.test(words)) ?? [];
  const said = pattern ? words.replace(pattern, own) : words;
  if (said.length <= most) return said;
  const cut = said.slice(0, most - 2).toWellFormed();
  return `${cut}…${cut.split("`").length % 2 === 0 ? "`" : ""}`;
}

const ADVICE: Partial<Record<ErrorCode, string>> = {
  Busy: "Too many messages wait already: this one was not taken. Send it again when some are answered.",
  TooLarge: "This is too long for one message: send it in pieces or as a file. It was not taken.",
  NotFound: "This chat has no session any more. Write /start to get one.",
};

/** Why a message was not taken. */
export function refusalWords(error: unknown): string {
  if (!(error instanceof ArgusError)) return WORDS.failed;
  return ADVICE[error.code] ?? `This was not taken: ${errorMessage(error)}`;
}

export const COMMANDS = [
  { command: "new", description: "begin a new conversation" },
  { command: "stop", description: "stop what is running" },
  { command: "status", description: "what I am doing, and what waits" },
  { command: "where", description: "which session this chat talks to" },
  { command: "cron", description: "the schedules of this session" },
  { command: "heartbeat", description: "look at HEARTBEAT.md now" },
  { command: "sessions", description: "the sessions there are; owners talk to another one here" },
  { command: "nodes", description: "the devices I can use, and how to add one" },
  { command: "approve", description: "let a person or a device in (owners)" },
  { command: "help", description: "what you can say" },
] as const;

export function helpWords(): string {
  const lines = COMMANDS.map(({ command, description }) => `/${command} – ${description}`);
  return [
    "Write, and I answer. Photos, files and voice messages go to the agent too.",
    "",
    ...lines,
  ].join("\n");
}
