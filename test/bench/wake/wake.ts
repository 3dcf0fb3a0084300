import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { nativeCodex } from "#runtime/codex-binary.ts";
import { BridgePeer } from "#test/support/bridge-peer.ts";
import type { BenchOptions } from "../bench.ts";
import { type BridgeCandidate, startBridgeCandidate } from "../relay/bridge.ts";
import { RELAY_CORE } from "../relay/process.ts";
import { environment, row, table } from "../relay/report.ts";
import { type Spread, spread } from "../relay/statistics.ts";

/** Wakes per repetition; each waits until the bridge has parked the app-server again. */
const WAKES = 20;
const METHOD = "thread/list";

/**
 * K5: a parked session's first line to the first byte of the answer, beside a bare start of the same app-server that answers the
 * same line. Alternating, in one run; the difference is the bridge's.
 */
export async function benchWake({ quick, repetitions }: BenchOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "argus-wake-"));
  const command = [await nativeCodex("codex", process.env.PATH ?? ""), "app-server"];
  const bridge = await startBridgeCandidate(folder, command, {
    protocol: "codex",
    parkAfterSeconds: 1,
  });
  try {
    const peer = await joined(bridge);
    const rounds = quick ? 3 : WAKES * repetitions;
    const [woken, bare]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      await parked(peer);
      woken.push(await wakeMs(peer));
      bare.push(await bareMs(command, join(folder, "home")));
    }
    return `${await environment()}\n\n${table(rowsOf(woken, bare))}`;
  } finally {
    await bridge.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function joined(bridge: BridgeCandidate): Promise<BridgePeer> {
  const peer = new BridgePeer("127.0.0.1", bridge.port);
  peer.socket.write(`${await bridge.greeting()}\n`);
  await peer.waitFor("the answer to the hello", ({ id }) => id === 1);
  await peer.request(METHOD);
  return peer;
}

async function parked(peer: BridgePeer): Promise<void> {
  const isParked = (state: unknown) => state === "parked";
  const last = peer.lines.findLastIndex(({ method }) => method === "argus/bridge/state");
  if (isParked(peer.lines[last]?.params?.state)) return;
  await peer.waitFor(
    "the parked state",
    ({ method, params }) => method === "argus/bridge/state" && isParked(params?.state),
    last + 1,
  );
}

async function wakeMs(peer: BridgePeer): Promise<number> {
  const from = performance.now();
  await peer.request(METHOD);
  return performance.now() - from;
}

/** The same work without a bridge: start, handshake, one answer. */
async function bareMs(command: string[], home: string): Promise<number> {
  const from = performance.now();
  const { PATH = "" } = process.env;
  const env = { PATH, HOME: home, CODEX_HOME: join(home, ".codex") };
  // On the core that the bridge and its app-server have.
  const words = ["-c", String(RELAY_CORE), ...command];
  const child = spawn("taskset", words, { env, cwd: home, stdio: ["pipe", "pipe", "ignore"] });
  try {
    const lines = createInterface({ input: child.stdout });
    const clientInfo = { name: "bench", title: "bench", version: "1" };
    await answered(child, lines, { id: 1, method: "initialize", params: { clientInfo } });
    child.stdin.write(`${JSON.stringify({ method: "initialized" })}\n`);
    await answered(child, lines, { id: 2, method: METHOD, params: {} });
    return performance.now() - from;
  } finally {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}

async function answered(
  child: ChildProcess,
  lines: ReturnType<typeof createInterface>,
  request: { id: number; method: string; params: unknown },
): Promise<void> {
  const done = new Promise<void>((resolve) => {
    const look = (line: string) => {
      const { id, method } = JSON.parse(line) as { id?: unknown; method?: unknown };
      if (id !== request.id || method !== undefined) return;
      lines.off("line", look);
      resolve();
    };
    lines.on("line", look);
  });
  child.stdin?.write(`${JSON.stringify(request)}\n`);
  await done;
}

function rowsOf(woken: number[], bare: number[]) {
  const at = (values: number[], share: number) =>
    values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN;
  const one = (value: number): Spread => ({ ...spread([value]), count: woken.length });
  const added = (share: number) => one(at(woken, share) - at(bare, share));
  const none = new Map();
  return [
    row(
      { goal: "–", what: "bare start to the first answer, p50", unit: " ms" },
      spread(bare),
      none,
    ),
    row(
      { goal: "–", what: "parked session, first line to its answer, p50", unit: " ms" },
      spread(woken),
      none,
    ),
    row(
      { goal: "K5", what: "added by the bridge, p50", atMost: 50, unit: " ms" },
      added(0.5),
      none,
    ),
    row(
      { goal: "K5", what: "added by the bridge, p99", atMost: 50, unit: " ms" },
      added(0.99),
      none,
    ),
  ];
}
