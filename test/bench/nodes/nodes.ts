import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgusUp } from "#test/support/argus-up.ts";
import { joined } from "#test/support/devices.ts";
import type { BenchOptions } from "../bench.ts";
import { environment, row, table } from "../relay/report.ts";
import { ratios, spread } from "../relay/statistics.ts";
import { connectAll, pairMany, residentKiB } from "./idle.ts";
import { startSshd } from "./sshd.ts";

const MIB = 1024 * 1024;
const root = join(import.meta.dirname, "..", "..", "..");

interface Run {
  firstMs: number;
  bytesPerSecond: number;
}

/**
 * `argus run laptop -- cat big` beside `ssh 127.0.0.1 cat big`, alternating in one run, and what idle nodes cost the gateway.
 * Bytes a second count from the first byte on: what a start costs is the other figure.
 */
export async function benchNodes({ quick, repetitions }: BenchOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "argus-bench-nodes-"));
  const up = await ArgusUp.start();
  const program = [join(root, "argus"), "node-host"];
  const host = await joined(up, { nodeId: "laptop", session: "main", program });
  const sshd = await startSshd(folder);
  try {
    const big = join(folder, "big");
    await fill(big, quick ? 16 * MIB : 256 * MIB);
    const argus = [join(root, "argus"), "run", "--data", up.data, "laptop", "--", "cat", big];
    const [ours, theirs]: [Run[], Run[]] = [[], []];
    for (let round = 0; round < repetitions; round += 1) {
      ours.push(await measured(argus));
      theirs.push(await measured([...sshd.words, "cat", big]));
    }
    const idle = await idleNodes(up, quick ? 50 : 500);
    return `${await environment()}\n\n${table([...speedRows(ours, theirs), ...idle])}`;
  } finally {
    sshd.stop();
    await host.remove();
    await up.destroy();
    await rm(folder, { recursive: true, force: true });
  }
}

async function fill(path: string, bytes: number): Promise<void> {
  const file = await open(path, "w");
  const block = Buffer.alloc(MIB, "0123456789abcdef".repeat(4));
  for (let written = 0; written < bytes; written += block.length) await file.write(block);
  await file.close();
}

async function measured([program = "", ...args]: string[]): Promise<Run> {
  const started = performance.now();
  let first = 0;
  let bytes = 0;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.on("data", (chunk: Buffer) => {
    first ||= performance.now();
    bytes += chunk.length;
  });
  const [code] = (await once(child, "close")) as [number];
  if (code !== 0) throw new Error(`${program} ended with ${code}`);
  const ended = performance.now();
  return { firstMs: first - started, bytesPerSecond: (bytes / (ended - first)) * 1000 };
}

function speedRows(ours: Run[], theirs: Run[]) {
  const of = (runs: Run[], key: keyof Run) => runs.map((run) => run[key]);
  const rate = ratios(of(ours, "bytesPerSecond"), of(theirs, "bytesPerSecond"));
  const mib = (runs: Run[]) => spread(of(runs, "bytesPerSecond").map((value) => value / MIB));
  const first = ratios(of(ours, "firstMs"), of(theirs, "firstMs"));
  return [
    row({ goal: "N1", what: "bytes/s against ssh", atLeast: 0.5 }, rate, NO_RUNS),
    row({ goal: "–", what: "argus run", unit: " MiB/s" }, mib(ours), NO_RUNS),
    row({ goal: "–", what: "ssh", unit: " MiB/s" }, mib(theirs), NO_RUNS),
    row({ goal: "–", what: "first byte against ssh" }, first, NO_RUNS),
    row({ goal: "–", what: "argus run", unit: " ms" }, spread(of(ours, "firstMs")), NO_RUNS),
    row({ goal: "–", what: "ssh", unit: " ms" }, spread(of(theirs, "firstMs")), NO_RUNS),
  ];
}
/** Nothing that others took is known here: run it where nobody else does. */
const NO_RUNS = new Map<string, never[]>();

async function idleNodes(up: ArgusUp, count: number) {
  const [gateway] = up.find("argus.mjs gateway");
  if (!gateway) throw new Error("no gateway");
  const tokens = await pairMany(up, count);
  const before = await residentKiB(gateway.pid);
  const { ms, close } = await connectAll(up, tokens);
  const after = await residentKiB(gateway.pid);
  close();
  const each = spread([(after - before) / count]);
  const what = `each of ${count} idle nodes`;
  return [
    row({ goal: "N2", what, atMost: 20, unit: " KiB" }, each, NO_RUNS),
    row({ goal: "–", what: `all ${count} connect at once`, unit: " ms" }, spread([ms]), NO_RUNS),
  ];
}
