import { EXIT } from "./exit.ts";

/** Prints a line for the person; the answer is the command's exit code. */
export function say(line: string, code: number = EXIT.ok): number {
  process.stdout.write(`${line}\n`);
  return code;
}
