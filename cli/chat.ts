import { randomUUID } from "node:crypto";
import { systemClock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import { runChat } from "./chat/run.ts";
import { findGateway } from "./client.ts";
import type { Environment } from "./config.ts";

export interface ChatCommand {
  session?: string;
  new?: boolean;
  thread: string;
  message?: string;
  approvals: string;
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

const THREADS = ["main", "latest", "new"] as const;
const APPROVALS = ["ask", "accept", "decline"] as const;

/** `argus chat`: resolves to the exit code. */
export async function chat(command: ChatCommand): Promise<number> {
  const approvals = APPROVALS.find((known) => known === command.approvals);
  if (!approvals) {
    throw new ArgusError(
      "InvalidInput",
      `--approvals ${command.approvals}: give ask, accept or decline`,
    );
  }
  const thread = THREADS.find((known) => known === command.thread);
  if (!thread) {
    const message = `--thread ${command.thread}: give main, latest or new`;
    throw new ArgusError("InvalidInput", message);
  }
  const interactive = command.message === undefined && process.stdin.isTTY && process.stdout.isTTY;
  return runChat({
    ...findGateway(command),
    session: command.new ? "new" : command.session,
    thread,
    message: command.message,
    approvals,
    interactive,
    input: process.stdin,
    output: process.stdout,
    notes: process.stderr,
    clock: systemClock,
    newId: randomUUID,
    onSignals: (interrupt, leave) => {
      process.on("SIGINT", interrupt);
      process.on("SIGTERM", leave);
    },
  });
}
