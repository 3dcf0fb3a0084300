import type { Command } from "commander";

export const dataOption = [
  "--data <folder>",
  "data folder of argus up (default: ARGUS_DATA)",
] as const;

/** A command that asks a gateway. */
export function remote(command: Command): Command {
  return command
    .option("--url <url>", "gateway (default: the local one)")
    .option("--token <token>", "token (default: the local one, or ARGUS_TOKEN)")
    .option(...dataOption);
}

/** The same about one session. */
export function ofSession(command: Command): Command {
  return remote(command).option("--session <name>", "session name (default: main)");
}
