import { execFile } from "node:child_process";

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string | undefined>;
  /** Goes to the program's stdin. */
  input?: string;
  timeoutMs?: number;
  cwd?: string;
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Runs a program to its end. Resolves for every exit code; rejects when it cannot be started. */
export function runProgram(
  path: string,
  args: string[],
  { env = process.env, input = "", timeoutMs = 30_000, cwd }: RunOptions = {},
): Promise<Outcome> {
  const options = { env, timeout: timeoutMs, maxBuffer: MAX_OUTPUT_BYTES, ...(cwd ? { cwd } : {}) };
  return new Promise((resolve, reject) => {
    const child = execFile(path, args, options, (error, stdout, stderr) => {
      if (error && typeof error.code !== "number" && !error.killed) reject(error);
      else resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr });
    });
    // One that does not read ends before all is written.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}
