import { spawnSync } from "node:child_process";
import type { ReadStream } from "node:tty";

/**
 * Makes a terminal hand on every key and show every byte as it is; answers what gives it back as it was. By stty, because Node's
 * own raw mode goes on turning each newline into two characters, which breaks programs that draw; where there is no stty by Node's.
 */
export function rawMode(input: ReadStream): () => void {
  const before = stty(["-g"]);
  if (before !== undefined && stty(["raw", "-echo"]) !== undefined)
    return () => void stty([before.trim()]);
  input.setRawMode(true);
  return () => void input.setRawMode(false);
}

/** What it printed, about the terminal that is our stdin; undefined: it is not there, or it failed. */
function stty(words: string[]): string | undefined {
  const { status, stdout } = spawnSync("stty", words, {
    stdio: ["inherit", "pipe", "ignore"],
    encoding: "utf8",
  });
  return status === 0 ? stdout : undefined;
}
