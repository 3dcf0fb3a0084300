import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CompactSign, type CryptoKey, exportSPKI, generateKeyPair } from "jose";
import { createLogger, silentLogger } from "#lib/logger.ts";
import {
  BridgeStatus,
  type HelloResult,
  type PeerRole,
  TerminationMessage,
} from "#protocol/bridge.ts";
import type { RuntimeSpec } from "#protocol/pod.ts";
import { type RunningBridge, startBridge } from "#runtime/bridge.ts";
import type { BridgeOptions, BridgeTuning } from "#runtime/options.ts";
import type { Pressure } from "#runtime/pressure.ts";
import { BridgePeer } from "./bridge-peer.ts";

export const FAKE_APP_SERVER = [
  process.execPath,
  join(import.meta.dirname, "..", "fakes", "app-server.ts"),
];

export interface JoinOptions {
  role?: PeerRole;
  epoch?: number;
  after?: number;
  boot?: string;
}

export interface TestBridgeOptions {
  runtime?: Partial<RuntimeSpec>;
  env?: Record<string, string>;
  tuning?: BridgeTuning;
  gatewayUrl?: string;
  pressure?: Pressure;
  /** Of an earlier bridge, to be started again on its volume. */
  volume?: Volume;
}

/** What outlives a bridge: its folders, its gateway's key. */
export interface Volume {
  folder: string;
  podUid: string;
  key: CryptoKey;
}

/** A real bridge on loopback with the fake app-server, or another one. */
export class TestBridge {
  readonly volume: Volume;
  readonly running: RunningBridge;
  readonly #stop: AbortController;
  readonly #peers: BridgePeer[] = [];

  constructor(volume: Volume, running: RunningBridge, stop: AbortController) {
    this.volume = volume;
    this.running = running;
    this.#stop = stop;
  }

  get fakeHome(): string {
    return join(this.volume.folder, "fake");
  }

  /** Signed like the gateway's; claims can be changed. */
  async token(epoch: number, changed: Record<string, unknown> = {}, kid = "k1"): Promise<string> {
    const iat = Math.floor(Date.now() / 1000);
    const own = { role: "client", jti: randomUUID() };
    const claims = { aud: this.volume.podUid, iat, exp: iat + 60, epoch, ...own, ...changed };
    return new CompactSign(Buffer.from(JSON.stringify(claims)))
      .setProtectedHeader({ alg: "EdDSA", kid })
      .sign(this.volume.key);
  }

  /** A connection without a hello. */
  dial(): BridgePeer {
    const peer = new BridgePeer("127.0.0.1", this.running.port);
    this.#peers.push(peer);
    return peer;
  }

  /** A connection whose hello was accepted; `hello` is the answer. */
  async join({
    role = "client",
    epoch = 1,
    after,
    boot,
  }: JoinOptions = {}): Promise<BridgePeer & { hello: HelloResult }> {
    const peer = this.dial();
    const token = await this.token(epoch, { role });
    const hello = await peer.request("bridge/hello", { token, role, after, boot });
    return Object.assign(peer, { hello: hello as HelloResult });
  }

  /** Lines that the fake app-server got so far. */
  received(): { method?: string; id?: unknown; params?: Record<string, unknown> }[] {
    const path = join(this.fakeHome, "received");
    if (!existsSync(path)) return [];
    const text = readFileSync(path, "utf8");
    return text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as never);
  }

  appServerPid(): number {
    const path = join(this.volume.folder, "home", ".argus", "app-server.json");
    return (JSON.parse(readFileSync(path, "utf8")) as { pid: number }).pid;
  }

  /** The cause of death that it left. */
  termination(): TerminationMessage {
    const text = readFileSync(join(this.volume.folder, "termination-log"), "utf8");
    return TerminationMessage.parse(JSON.parse(text));
  }

  async status(): Promise<BridgeStatus> {
    return BridgeStatus.parse(JSON.parse((await this.get("/status")).body));
  }

  async get(path: string, signal?: AbortSignal): Promise<{ status: number; body: string }> {
    const url = `http://127.0.0.1:${this.running.probePort}${path}`;
    const response = await fetch(url, signal ? { signal } : {});
    return { status: response.status, body: await response.text() };
  }

  /** SIGTERM, as it were: resolves when the bridge has ended by itself. */
  drain(): Promise<void> {
    this.#stop.abort(new Error("stopped by SIGTERM"));
    return this.running.closed;
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("stopped by SIGTERM"));
    for (const peer of this.#peers) peer.close();
    await this.running.closed;
  }
}

export async function makeVolume(): Promise<Volume> {
  const folder = await mkdtemp(join(tmpdir(), "argus-bridge-"));
  const { publicKey, privateKey } = await generateKeyPair("EdDSA", { extractable: true });
  await mkdir(join(folder, "keys"));
  await writeFile(join(folder, "keys", "k1"), await exportSPKI(publicKey));
  await writeFile(join(folder, "token"), "the-pod-token\n");
  return { folder, podUid: "pod-1", key: privateKey };
}

/** What a bridge over this volume is started with. */
export function bridgeOptionsFor(volume: Volume, options: TestBridgeOptions = {}): BridgeOptions {
  const { folder, podUid } = volume;
  const runtime: RuntimeSpec = {
    command: FAKE_APP_SERVER,
    protocol: "codex",
    image: "test",
    approvals: "never",
    workingDir: "",
    parkAfterSeconds: 0,
    pids: 0,
    memoryBytes: 0,
    ...options.runtime,
  };
  return {
    session: "main",
    podUid,
    host: "127.0.0.1",
    bridgePort: 0,
    probePort: 0,
    runtime,
    gatewayUrl: options.gatewayUrl ?? "http://127.0.0.1:9",
    home: join(folder, "home"),
    workspace: join(folder, "home", "workspace"),
    temporary: join(folder, "tmp"),
    tokenFile: join(folder, "token"),
    keysFolder: join(folder, "keys"),
    terminationLog: join(folder, "termination-log"),
    agentEnv: {
      PATH: process.env.PATH ?? "",
      ARGUS_POD_UID: podUid,
      FAKE_HOME: join(folder, "fake"),
      ...options.env,
    },
    tuning: { graceMs: 200, ...options.tuning },
    ...(options.pressure ? { pressure: options.pressure } : {}),
    logger: process.env.ARGUS_TEST_LOG ? createLogger("bridge") : silentLogger(),
  };
}

export async function startTestBridge(options: TestBridgeOptions = {}): Promise<TestBridge> {
  const volume = options.volume ?? (await makeVolume());
  const stop = new AbortController();
  const running = await startBridge(bridgeOptionsFor(volume, options), stop.signal);
  return new TestBridge(volume, running, stop);
}

export const removeVolume = ({ folder }: Volume) => rm(folder, { recursive: true, force: true });
