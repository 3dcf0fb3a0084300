import { execFile } from "node:child_process";

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** Enough of a program's words to see why it failed. */
const TAIL = 2000;

export interface RunOptions {
  /** Added to this process's own. */
  env?: Record<string, string>;
  /** Throw, with the end of its output, when it fails. */
  check?: boolean;
}

/** Runs a program to its end. */
export function run(
  program: string,
  args: string[],
  { env = {}, check = false }: RunOptions = {},
): Promise<{ code: number; output: string }> {
  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: MAX_OUTPUT_BYTES };
    execFile("env", [...words, program, ...args], options, (error, stdout, stderr) => {
      const output = `${stdout}${stderr}`;
      const code = error ? Number(error.code ?? 1) : 0;
      if (!check || code === 0) return resolve({ code, output });
      const message = `${program} ${args[0] ?? ""} failed (${code}): ${output.slice(-TAIL)}`;
      reject(new Error(message, { cause: error }));
    });
  });
}
