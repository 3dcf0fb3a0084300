import { accessSync, constants as fsConstants, statSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import { errorMessage } from "#lib/errors.ts";
import type { SupervisorOrder, TerminalSize } from "./job-folder.ts";

// A program on a terminal of its own. The library has machine code for this system or is not there at all.

/** What is used of the library. */
interface Pty {
  readonly pid: number;
  onData(listener: (bytes: Buffer) => void): void;
  onExit(listener: (end: { exitCode: number; signal?: number }) => void): void;
  write(bytes: Buffer | string): void;
  resize(cols: number, rows: number): void;
}
type Spawn = (file: string, args: string[], options: object) => Pty;

export interface Terminal {
  pid: number;
  ended: Promise<{ exitCode: number | null; signal: string | null }>;
  write(bytes: Buffer): void;
  /** What Ctrl-D does: a program that reads sees the end. */
  end(): void;
  resize(size: TerminalSize): void;
}

const END_OF_TRANSMISSION = "\u0004";

/** Undefined, with the reason, when this device has no terminals. */
export async function findPty(): Promise<{ spawn: Spawn } | { missing: string }> {
  try {
    const library = (await import("@lydell/node-pty")) as unknown as { spawn: Spawn };
    return { spawn: library.spawn };
  } catch (error) {
    const [why] = errorMessage(error).split("\n");
    return {
      missing: `this device has no terminals (${why}): npm install @lydell/node-pty beside the node-host's program, or run it without -t`,
    };
  }
}

/** Starts the order's program on a terminal whose output goes to `output`. Throws when it cannot be started. */
export async function startTerminal(
  { argv, cwd, env, size }: SupervisorOrder & { size: TerminalSize },
  output: number,
): Promise<Terminal> {
  const found = await findPty();
  if ("missing" in found) throw new Error(found.missing);
  const [program = "", ...args] = argv;
  // The library starts a process in any case, whose end would look like the program's.
  if (!statSync(cwd).isDirectory()) throw new Error(`${cwd} is no folder`);
  const file = executable(program, cwd, env.PATH ?? "");
  const pty = found.spawn(file, args, { cwd, env, encoding: null, ...size });
  // Written at once, whatever the size: at the program's end the library waits a fifth of a second for its reader.
  pty.onData((bytes) => writeAll(output, bytes));
  const ended = new Promise<{ exitCode: number | null; signal: string | null }>((resolve) => {
    pty.onExit(({ exitCode, signal = 0 }) => {
      const name = nameOf(signal);
      resolve({ exitCode: name === null ? exitCode : null, signal: name });
    });
  });
  return {
    pid: pty.pid,
    ended,
    write: (bytes) => pty.write(bytes),
    end: () => pty.write(END_OF_TRANSMISSION),
    resize: ({ cols, rows }) => resize(pty, cols, rows),
  };
}

/** A program that has just ended has no size. */
function resize(pty: Pty, cols: number, rows: number): void {
  try {
    pty.resize(cols, rows);
  } catch {
    // Its end is told by `ended`.
  }
}

function writeAll(output: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(output, bytes, done, bytes.length - done);
}

const nameOf = (signal: number): string | null =>
  Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? null;

/** The file that would run. Throws as the system would, when there is none. */
function executable(program: string, cwd: string, path: string): string {
  const places = program.includes("/")
    ? [join(program.startsWith("/") ? "/" : cwd, program)]
    : path.split(delimiter).map((folder) => join(folder, program));
  const found = places.find(isExecutable);
  if (found) return found;
  throw new Error(`spawn ${program} ENOENT`);
}

function isExecutable(place: string): boolean {
  try {
    accessSync(place, fsConstants.X_OK);
    return statSync(place).isFile();
  } catch {
    return false;
  }
}
