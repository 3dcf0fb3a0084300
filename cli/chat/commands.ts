const COMMANDS = {
  "/new": "newThread",
  "/threads": "listThreads",
  "/help": "help",
  "/quit": "quit",
  "/exit": "quit",
} as const;

export type ChatCommandName = (typeof COMMANDS)[keyof typeof COMMANDS] | "unknown";

export const HELP = [
  "/new: begin a new conversation",
  "/threads: list the last ten threads",
  "/quit: leave; what runs goes on",
  "Ctrl-C: interrupt the turn; again: leave",
  "text typed while a turn runs joins that turn",
];

/** The command of a line; undefined for a message. `/etc/hosts is broken` is a message: only one word is a command. */
export function commandOf(text: string): ChatCommandName | undefined {
  if (!/^\/[a-z]+$/.test(text)) return undefined;
  return text in COMMANDS ? COMMANDS[text as keyof typeof COMMANDS] : "unknown";
}
