import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { GatewayLink } from "#cli/nodes/link.ts";
import { silentLogger } from "#lib/logger.ts";
import { deviceKey } from "#node-host/identity.ts";
import { startNodeHost } from "#node-host/node-host.ts";
import { pair } from "#node-host/pair.ts";
import { Policy } from "#node-host/policy.ts";
import type { OutputName } from "#protocol/node.ts";
import { NODE_STREAM_ENDED, type NodeStreamEnded } from "#protocol/node-methods.ts";
import { Cutter } from "#test/support/cutter.ts";
import { connected } from "#test/support/devices.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";
import { proofSize } from "#test/support/proof.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** The same numbers for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const program = join(import.meta.dirname, "..", "..", "cli", "node-host.ts");

/** A real node-host that comes back within milliseconds, behind a proxy that cuts it. */
async function deviceBehind(rig: GatewayRig, room: () => number) {
  const cutter = await Cutter.start(rig.gateway?.port ?? 0, room);
  const place = await NodeHostProcess.make();
  const { folder } = place;
  closers.push(
    () => place.remove(),
    () => cutter.stop(),
  );
  const stop = new AbortController();
  const direct = `${rig.url.replace("http", "ws")}/nodes/ws`;
  const key = await deviceKey(folder);
  const client = await GatewayLink.open({ url: rig.url, token: ADMIN }, "a");
  const showCode = (code: string) => void client.request("argus/node/approve", { code });
  const names = { nodeId: "laptop", displayName: "laptop" };
  const { token } = await pair({ url: direct, ...names, key, showCode }, stop.signal);
  client.close();
  const host = await startNodeHost(
    {
      url: direct.replace(/:\d+/, `:${cutter.port}`),
      token: async () => token,
      ...names,
      version: "0",
      stateFolder: folder,
      supervisor: [process.execPath, program, "supervise"],
      env: { PATH: process.env.PATH ?? "" },
      home: folder,
      policy: async () => Policy.parse({ default: "allow" }),
      logger: silentLogger(),
      backoff: { baseMs: 2, maxMs: 10 },
    },
    stop.signal,
  );
  closers.push(async () => {
    stop.abort();
    await host.closed;
  });
  return { cutter, folder };
}

/** Follows a job from its first byte; a byte that is missing, doubled or out of place is an error. */
async function follow(link: GatewayLink, jobId: string) {
  const hashes = { stdout: createHash("sha256"), stderr: createHash("sha256") };
  const offsets: Record<OutputName, number> = { stdout: 0, stderr: 0 };
  const errors: string[] = [];
  link.onChunk = ({ output, offset, bytes }) => {
    if (offset !== offsets[output]) errors.push(`${output} at ${offset}, not ${offsets[output]}`);
    offsets[output] += bytes.length;
    hashes[output].update(bytes);
  };
  const end = new Promise<NodeStreamEnded>((resolve) => {
    link.onNotification = (method, params) => {
      if (method === NODE_STREAM_ENDED) resolve(params as NodeStreamEnded);
    };
  });
  await link.request("argus/node/stream/open", { streamId: 7, node: "laptop", jobId });
  const { exitCode, error } = await end;
  return { exitCode, error, errors, ...offsets, sum: hashes.stdout.digest("hex") };
}

test("whatever bytes the connection is cut at, no output is lost or doubled and each call runs once", async () => {
  const wanted = proofSize(60, 1000);
  const seed = Number(process.env.SEED) || Date.now() % 1_000_000;
  console.info(`SEED=${seed}`);
  const random = randomOf(seed);
  const rig = await GatewayRig.start();
  closers.push(() => rig.stop());
  rig.putSession("a");
  // Sometimes within the greeting, mostly within a chunk or two.
  const room = () => Math.ceil(random() ** 3 * 300_000);
  const { cutter, folder } = await deviceBehind(rig, room);
  const gateway = { url: rig.url, token: ADMIN };
  await connected(gateway, "laptop", "a");
  const link = await GatewayLink.open(gateway, "a");
  closers.push(async () => link.close());
  const run = (argv: string[], more: object = {}) =>
    link.request("argus/node/invoke", {
      node: "laptop",
      command: "system.run",
      timeoutMs: 120_000,
      // An answer of 2 MiB could never pass.
      params: { argv, notifyOnExit: false, outputBytes: 0, ...more },
    }) as Promise<{ ok: boolean; payload: { jobId: string }; error: unknown }>;
  const big = Buffer.alloc(3_000_000, "0123456789abcdef\n");
  await writeFile(join(folder, "big"), big);
  let calls = 0;
  for (let round = 0; cutter.cuts < wanted; round += 1) {
    const script = `cat big; printf 'e%.0s' 1 2 3 >&2; exit 3`;
    const started = await run(["sh", "-c", script], { yieldMs: 0 });
    expect(started).toMatchObject({ ok: true, error: null });
    const lines = [1, 2].map(async () => {
      calls += 1;
      expect(await run(["sh", "-c", "echo x >> ran"])).toMatchObject({ ok: true, error: null });
    });
    const seen = await follow(link, started.payload.jobId);
    await Promise.all(lines);
    expect(seen, `round ${round}`).toEqual({
      exitCode: 3,
      error: undefined,
      errors: [],
      stdout: big.length,
      stderr: 3,
      sum: createHash("sha256").update(big).digest("hex"),
    });
  }
  expect(await readFile(join(folder, "ran"), "utf8")).toBe("x\n".repeat(calls));
  console.info(`${cutter.cuts} cuts, ${calls} calls, each once`);
}, 600_000);
