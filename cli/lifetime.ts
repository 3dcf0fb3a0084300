import type { Running } from "#lib/running.ts";
import { EXIT, exitCodeOf, explain } from "./exit.ts";

/** Runs a command; whatever it throws becomes one line on stderr and the exit code. */
export async function runCommand(work: () => Promise<number | undefined>): Promise<void> {
  try {
    process.exitCode = (await work()) ?? EXIT.ok;
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}

/**
 * A signal that SIGINT, SIGTERM and SIGHUP (the terminal was closed) abort; the second of them exits 1 at once.
 */
export function untilSignalled(onFirst: (name: string) => void = () => undefined): AbortSignal {
  const controller = new AbortController();
  const stop = (name: string) => {
    if (controller.signal.aborted) process.exit(EXIT.failed);
    onFirst(name);
    controller.abort(new Error(`stopped by ${name}`));
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  process.on("SIGHUP", stop);
  return controller.signal;
}

/** Starts a process of ours and waits for its end, for as long as nobody stops it. */
export async function runUntilSignalled(
  start: (signal: AbortSignal) => Promise<Running>,
): Promise<number> {
  const signal = untilSignalled();
  try {
    const running = await start(signal);
    await running.closed;
  } catch (error) {
    // Stopped while it was still starting: that is what was asked for.
    if (!signal.aborted) throw error;
  }
  return EXIT.ok;
}

/** Ends with the process, once what it used is closed too. */
export async function closeAfter(
  running: Running,
  used: { close(): Promise<void> },
): Promise<void> {
  try {
    await running.closed;
  } finally {
    await used.close();
  }
}
