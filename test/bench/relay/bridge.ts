import { generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SignJWT } from "jose";
import type { HelloParams } from "#protocol/bridge.ts";
import { POD_ENV, type RuntimeSpec } from "#protocol/pod.ts";
import { argus } from "./gateway.ts";
import type { Candidate } from "./load.ts";
import { freePort, start } from "./process.ts";

/** Connections of one run at most: each needs a hello of its own. */
const GREETINGS = 40;
const KEY_ID = "bench-key";

export interface BridgeCandidate extends Candidate {
  port: number;
  /** The first line of a peer, good for a minute. */
  greeting(): Promise<string>;
}

/** The real bridge with `command` as its app-server, its HOME at `home` in `folder`. */
export async function startBridgeCandidate(
  folder: string,
  command: string[],
  overrides: Partial<RuntimeSpec> = {},
): Promise<BridgeCandidate> {
  const [port, probePort, podUid] = [await freePort(), await freePort(), randomUUID()];
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const env = await environment(folder, podUid, { ...overrides, command });
  const pem = publicKey.export({ type: "spki", format: "pem" });
  await writeFile(join(folder, "keys", KEY_ID), pem);
  const ports = { ARGUS_BRIDGE_PORT: String(port), ARGUS_PROBE_PORT: String(probePort) };
  const started = await start({
    command: await argus("bridge", folder),
    env: { ...env, ...ports },
    port,
  });
  await ready(probePort);
  const greeting = () => greet(privateKey, podUid);
  const settings = async () => ({
    wire: "raw",
    fan: 1,
    front: `127.0.0.1:${port}`,
    stub: join(folder, "stub.sock"),
    greet: (await Promise.all(Array.from({ length: GREETINGS }, greeting))).join("\n"),
  });
  return {
    name: "bridge",
    pids: [started.pid],
    port,
    greeting,
    settings,
    stop: () => started.stop(),
  };
}

async function environment(
  folder: string,
  podUid: string,
  overrides: Partial<RuntimeSpec> & { command: string[] },
): Promise<Record<string, string>> {
  const at = (name: string) => join(folder, name);
  for (const name of ["home", "home/workspace", "tmp", "keys"]) {
    await mkdir(at(name), { recursive: true });
  }
  await writeFile(at("token"), "token-of-the-pod");
  const runtime: RuntimeSpec = {
    protocol: "jsonl",
    image: "bench",
    approvals: "never",
    workingDir: at("home/workspace"),
    parkAfterSeconds: 0,
    pids: 0,
    memoryBytes: 0,
    ...overrides,
  };
  return {
    [POD_ENV.session]: "bench",
    [POD_ENV.podUid]: podUid,
    [POD_ENV.podIp]: "127.0.0.1",
    [POD_ENV.runtime]: JSON.stringify(runtime),
    [POD_ENV.gatewayUrl]: "http://127.0.0.1:9",
    [POD_ENV.home]: at("home"),
    [POD_ENV.workspace]: at("home/workspace"),
    [POD_ENV.temporary]: at("tmp"),
    [POD_ENV.tokenFile]: at("token"),
    [POD_ENV.keysFolder]: at("keys"),
    [POD_ENV.terminationLog]: at("termination-log"),
    ARGUS_LOG_LEVEL: "warn",
  };
}

async function ready(probePort: number): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${probePort}/readyz`).catch(() => undefined);
    if (answer?.ok) return;
    const text = (await answer?.text()) ?? "no answer";
    if (Date.now() > deadline) throw new Error(`the bridge is not ready: ${text}`);
  }
}

async function greet(key: KeyObject, podUid: string): Promise<string> {
  const token = await new SignJWT({ epoch: 1, role: "client" })
    .setJti(randomUUID())
    .setProtectedHeader({ alg: "EdDSA", kid: KEY_ID })
    .setAudience(podUid)
    .setIssuedAt()
    .setExpirationTime("60s")
    .sign(key);
  const params: HelloParams = { token, role: "client" };
  return JSON.stringify({ id: 1, method: "bridge/hello", params });
}
