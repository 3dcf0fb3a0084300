import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** The relay has one core, everything else the other. */
export const RELAY_CORE = 0;
export const LOAD_CORE = 1;

/** A process under test, pinned to the relay's core unless said otherwise. */
export interface Started {
  pid: number;
  stop(): Promise<void>;
}

export interface StartOptions {
  command: string[];
  env?: Record<string, string>;
  core?: number;
  /** Wait until somebody listens there. */
  port?: number;
  host?: string;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;

export async function start(options: StartOptions): Promise<Started> {
  const words = ["-c", String(options.core ?? RELAY_CORE), ...options.command];
  const { PATH = "", HOME = "/", NODE_OPTIONS = "" } = process.env;
  // NODE_OPTIONS="--cpu-prof --cpu-prof-dir=…" profiles what is measured.
  const env = { PATH, HOME, NODE_OPTIONS, ...options.env };
  const child = spawn("taskset", words, { env, stdio: ["ignore", "ignore", "pipe"] });
  const errors = tailOf(child);
  if (options.port) await listening(child, { ...options, port: options.port, errors });
  return { pid: child.pid ?? 0, stop: () => stop(child) };
}

function tailOf(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-4000);
  });
  return () => text;
}

interface Expected {
  command: string[];
  host?: string;
  port: number;
  errors: () => string;
}

async function listening(child: ChildProcess, { command, host, port, errors }: Expected) {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await accepts(port, host))) {
    if (child.exitCode !== null) throw new Error(`${command.join(" ")} ended: ${errors()}`);
    if (Date.now() > deadline) {
      await stop(child);
      throw new Error(`${command.join(" ")} does not listen on ${port}: ${errors()}`);
    }
    await delay(50);
  }
}

async function accepts(port: number, host = "127.0.0.1"): Promise<boolean> {
  const socket = connect({ port, host });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await ended.finally(() => clearTimeout(timer));
}

/** A port that was free a moment ago. */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
