import { mkdtemp, rm } from "node:fs/promises";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { bundle } from "../../../scripts/bundle.ts";
import { whyNoControlPlane } from "../../cluster/binaries.ts";
import { startRealPeer } from "../../support/api-peer.ts";
import { runProgram } from "../../support/run-program.ts";
import { type Row, table } from "../relay/report.ts";
import { startLatency } from "./arrivals.ts";
import { blindness, randomFaults } from "./blind.ts";
import { callCosts } from "./calls.ts";
import { writesOfALife } from "./counts.ts";
import { crashes } from "./crashes.ts";
import { failovers } from "./failover.ts";
import { idleSessions } from "./memory.ts";
import { Rig } from "./rig.ts";
import { ruleCosts } from "./rule-costs.ts";
import { upgrades } from "./upgrade.ts";

export interface ControllerBenchOptions {
  quick: boolean;
  repetitions: number;
  /** Goals to measure; empty = all. */
  only: string[];
}

interface Stage {
  rig: Rig;
  bundle: string;
  folder: string;
  quick: boolean;
  repetitions: number;
  say(text: string): void;
}

const PARTS: { goals: string[]; run: (stage: Stage) => Promise<Row[]> }[] = [
  { goals: ["K1"], run: (stage) => crashes(stage.rig.peer, stage) },
  { goals: ["K3", "K3-faults"], run: (stage) => randomFaults(stage.rig.peer, stage) },
  { goals: ["K3", "K3-blind"], run: (stage) => blindness(stage.rig.peer, stage) },
  { goals: ["K4"], run: (stage) => startLatency(stage.rig, stage) },
  { goals: ["K7"], run: getCosts },
  { goals: ["K8"], run: (stage) => writesOfALife(stage.rig, stage) },
  { goals: ["K9"], run: (stage) => failovers(stage.rig.peer, stage) },
  { goals: ["K15"], run: (stage) => ruleCosts(stage.rig, stage) },
  { goals: ["K16"], run: (stage) => upgrades(stage.rig, stage) },
  { goals: ["K2", "K6"], run: (stage) => idleSessions(stage.rig, { ...stage, many: false }) },
  { goals: ["K6"], run: (stage) => idleSessions(stage.rig, { ...stage, many: true }) },
];

/** Measures the bundled controller on a real kube-apiserver and etcd, which it starts; returns the report. */
export async function benchController(options: ControllerBenchOptions): Promise<string> {
  const reason = whyNoControlPlane();
  if (reason) throw new Error(`bench controller needs a real kube-apiserver: ${reason}`);
  const { only, quick, repetitions } = options;
  const parts = PARTS.filter(
    ({ goals }) => !only.length || goals.some((goal) => only.includes(goal)),
  );
  if (parts.length === 0) throw new Error(`no such goal: ${only.join(", ")}`);
  const folder = await mkdtemp(join(tmpdir(), "argus-bench-"));
  const program = join(folder, "bundle");
  const say = (text: string) => console.error(`· ${text}`);
  try {
    await bundle(program);
    const rows: Row[] = [];
    for (const { run } of parts) {
      // A fresh API server for each: what one part leaves behind must not slow the next.
      const rig = await Rig.start({ peer: await startRealPeer(), bundle: program, folder });
      try {
        rows.push(...(await run({ rig, bundle: program, folder, quick, repetitions, say })));
      } finally {
        await rig.close();
      }
      // Long runs are read while they go on.
      console.error(table(rows.slice(-40)));
    }
    const head = await environment();
    return [head, "", table(rows), "", JSON.stringify({ environment: head, rows })].join("\n");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Over HTTP/2, which real API servers offer, and over HTTP/1.1, which this one is told to keep to. */
async function getCosts(stage: Stage): Promise<Row[]> {
  const rows = await callCosts(stage.rig, { ...stage, protocol: "HTTP/2" });
  const peer = await startRealPeer(["--disable-http2-serving"]);
  const plain = await Rig.start({ peer, bundle: stage.bundle, folder: stage.folder });
  try {
    return [...rows, ...(await callCosts(plain, { ...stage, protocol: "HTTP/1.1" }))];
  } finally {
    await plain.close();
  }
}

async function environment(): Promise<string> {
  const { stdout: commit } = await runProgram("git", ["rev-parse", "--short", "HEAD"]);
  const { stdout: dirty } = await runProgram("git", ["status", "--porcelain"]);
  return [
    `commit ${commit.trim()}${dirty ? " (with changes)" : ""}`,
    `Node ${process.version}`,
    "Kubernetes 1.36.3, etcd 3.7.3",
    `Linux ${release()}`,
    `${cpus().length} cores`,
  ].join(" · ");
}
