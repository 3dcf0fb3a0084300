import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBridgeCandidate } from "./bridge.ts";
import { checkMultiplexer } from "./check-multiplexer.ts";
import { checkRelay } from "./check-relay.ts";
import { flatOut } from "./flat-out.ts";
import { startGatewayCandidate } from "./gateway.ts";
import { noisyNeighbour, paced } from "./latency.ts";
import type { Candidate } from "./load.ts";
import { fanOut, multiplexer } from "./multiplex.ts";
import { startBaseline, startFloor, startHaproxy } from "./peers.ts";
import { buildPrograms, type Programs } from "./programs.ts";
import { environment, type Row, table } from "./report.ts";
import { idle, slowClient, slowPeer } from "./resources.ts";
import type { Bench } from "./rounds.ts";

export interface RelayBenchOptions {
  quick: boolean;
  repetitions: number;
  /** Goals to measure; empty = all. */
  only: string[];
}

/** Everything started so far; stopped in reverse order. */
class Stage {
  readonly folder: string;
  readonly programs: Programs;
  readonly #started = new Map<string, Promise<Candidate>>();
  #folders = 0;

  constructor(folder: string, programs: Programs) {
    this.folder = folder;
    this.programs = programs;
  }

  async fresh(): Promise<string> {
    this.#folders += 1;
    const folder = join(this.folder, String(this.#folders));
    await mkdir(folder);
    return folder;
  }

  haproxy = () => this.#once("haproxy", async () => startHaproxy(await this.fresh()));
  floor = () => this.#once("floor", () => startFloor(this.programs));
  naive = () => this.#once("naive", () => startBaseline("naive"));
  plain = () => this.#once("plain", () => startBaseline("plain"));
  obvious = () => this.#once("fanout", () => startBaseline("fanout"));
  gateway = () => this.#once("gateway", async () => startGatewayCandidate(await this.fresh()));
  bridge = () =>
    this.#once("bridge", async () => {
      const folder = await this.fresh();
      return startBridgeCandidate(folder, [this.programs.stub, join(folder, "stub.sock")]);
    });

  async stop(): Promise<void> {
    for (const started of [...this.#started.values()].reverse()) {
      await started.then(
        (candidate) => candidate.stop(),
        () => undefined,
      );
    }
  }

  #once(name: string, start: () => Promise<Candidate>): Promise<Candidate> {
    const started = this.#started.get(name) ?? start();
    this.#started.set(name, started);
    return started;
  }
}

/** What is measured for some goals, and on which of our processes. */
interface Part {
  goals: string[];
  on: ("gateway" | "bridge")[];
  run: (bench: Bench, stage: Stage) => Promise<Row[]>;
}

const PARTS: Part[] = [
  {
    goals: ["G1", "G2"],
    on: ["gateway"],
    run: async (bench, stage) =>
      flatOut(bench, {
        gateway: await stage.gateway(),
        others: [await stage.haproxy(), await stage.floor(), await stage.naive()],
      }),
  },
  {
    goals: ["G4"],
    on: ["gateway"],
    run: async (bench, stage) =>
      paced(bench, { gateway: await stage.gateway(), haproxy: await stage.haproxy() }),
  },
  {
    goals: ["G7"],
    on: ["gateway"],
    run: async (bench, stage) =>
      noisyNeighbour(bench, {
        gateway: await stage.gateway(),
        haproxy: await stage.haproxy(),
        floor: await stage.floor(),
      }),
  },
  {
    goals: ["G8"],
    on: ["gateway"],
    run: (bench, stage) => idle(bench, async () => startGatewayCandidate(await stage.fresh())),
  },
  {
    goals: ["G9"],
    on: ["gateway", "bridge"],
    run: async (bench, stage) => [
      ...(await slowClient(bench, await stage.gateway())),
      ...(await slowPeer(bench, await stage.bridge())),
    ],
  },
  {
    goals: ["G11"],
    on: ["bridge"],
    run: async (bench, stage) =>
      fanOut(bench, { bridge: await stage.bridge(), obvious: await stage.obvious() }),
  },
  {
    goals: ["G12"],
    on: ["bridge"],
    run: async (bench, stage) =>
      multiplexer(bench, {
        bridge: await stage.bridge(),
        plain: await stage.plain(),
        naive: await stage.naive(),
      }),
  },
];

/** Checks that gateway and bridge carry every byte, then measures; returns the report. Throws when the check fails. */
export async function benchRelay(options: RelayBenchOptions): Promise<string> {
  const programs = await buildPrograms();
  const folder = await mkdtemp(join(tmpdir(), "argus-bench-"));
  const stage = new Stage(folder, programs);
  const say = (text: string) => console.error(`· ${text}`);
  const { quick, repetitions, only } = options;
  try {
    const wanted = ({ goals }: Part) => only.length === 0 || goals.some((g) => only.includes(g));
    const parts = PARTS.filter(wanted);
    if (parts.length === 0) throw new Error(`no such goal: ${only.join(", ")}`);
    await check(stage, { on: new Set(parts.flatMap(({ on }) => on)), quick, say });
    const rows: Row[] = [];
    for (const { run } of parts) {
      rows.push(...(await run({ load: programs.load, repetitions, quick, say }, stage)));
    }
    return `${await environment()}\n\n${table(rows)}`;
  } finally {
    await stage.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface CheckOptions {
  on: Set<"gateway" | "bridge">;
  quick: boolean;
  say: (text: string) => void;
}

async function check(stage: Stage, { on, quick, say }: CheckOptions): Promise<void> {
  const lines = quick ? 40 : 120;
  const relays = on.has("gateway") ? [await stage.floor(), await stage.gateway()] : [];
  for (const candidate of relays) {
    say(`check: ${lines} lines both ways, byte for byte, ${candidate.name}`);
    await checkRelay(candidate, lines);
  }
  if (!on.has("bridge")) return;
  say("check: five peers, every answer to its asker");
  await checkMultiplexer(await stage.fresh(), quick ? 60 : 300);
}
