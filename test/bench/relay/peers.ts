import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Candidate } from "./load.ts";
import { freePort, start } from "./process.ts";
import type { Programs } from "./programs.ts";

const KIB_PER_MIB = 1024;
/** The thread and the client have started by then. */
const SETTLE_MS = 1500;
const BASELINE = join(import.meta.dirname, "..", "baseline");

const HAPROXY_CONFIG = (port: number, upstream: number) => `global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 127.0.0.1:${port}
  default_backend lines
backend lines
  server upstream 127.0.0.1:${upstream}
`;

/** haproxy as a TCP relay on one thread: steady, well known, no framing at all. */
export async function startHaproxy(folder: string): Promise<Candidate> {
  const [port, upstream] = [await freePort(), await freePort()];
  const file = join(folder, "haproxy.cfg");
  await writeFile(file, HAPROXY_CONFIG(port, upstream));
  const started = await start({ command: ["haproxy", "-db", "-q", "-f", file], port });
  return candidate("haproxy", started, { wire: "raw", port, upstream });
}

/** The WebSocket relay in C. */
export async function startFloor({ floor }: Programs): Promise<Candidate> {
  const [port, upstream] = [await freePort(), await freePort()];
  const started = await start({ command: [floor, String(port), String(upstream)], port });
  return candidate("C relay", started, { wire: "ws", port, upstream });
}

/** One of the frozen relays. */
export async function startBaseline(name: "naive" | "plain" | "fanout"): Promise<Candidate> {
  const [port, upstream] = [await freePort(), await freePort()];
  const file = join(BASELINE, `${name}.ts`);
  const command = [process.execPath, file, String(port), String(upstream)];
  const started = await start({ command, port });
  return candidate(name, started, { wire: "ws", port, upstream });
}

/** RSS (MiB) of a Node that has only what the gateway cannot do without. */
export async function emptyNodeMiB(): Promise<number> {
  const port = await freePort();
  const command = [process.execPath, join(BASELINE, "empty-node.cjs"), String(port)];
  const node = await start({ command, port });
  try {
    await delay(SETTLE_MS);
    const kib = /^Rss:\s+(\d+)/m.exec(
      await readFile(`/proc/${node.pid}/smaps_rollup`, "utf8"),
    )?.[1];
    return Number(kib) / KIB_PER_MIB;
  } finally {
    await node.stop();
  }
}

interface Ports {
  wire: "raw" | "ws";
  port: number;
  upstream: number;
}

function candidate(
  name: string,
  { pid, stop }: { pid: number; stop: () => Promise<void> },
  { wire, port, upstream }: Ports,
): Candidate {
  const settings = { wire, front: `127.0.0.1:${port}`, listen: `127.0.0.1:${upstream}` };
  return { name, pids: [pid], settings: () => Promise.resolve(settings), stop };
}
