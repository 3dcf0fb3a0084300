import { afterEach, expect, test, vi } from "vitest";
import { scanLine } from "#lib/scan.ts";
import { Busy } from "#runtime/busy.ts";
import type { Peer } from "#runtime/peer.ts";
import { HOLD_MS, Requests, type RequestsOptions } from "#runtime/requests.ts";

afterEach(() => vi.useRealTimers());

const peerOf = (): Peer => ({ role: "client", epoch: 1, gone: false, send: () => {} });

function requestsOver(parts: object) {
  const told: { error?: { data?: { reason?: string } } }[] = [];
  const sent: string[] = [];
  const options = {
    flight: { send: ({ method }: { method: string }) => sent.push(method) },
    policy: { named: () => ({}), fill: (line: Buffer) => line, remember: () => {} },
    threads: { isLoaded: () => true, isNew: () => false, ensure: async () => {} },
    toolServers: { settled: async () => {} },
    tell: (_: Peer, line: Buffer) => told.push(JSON.parse(String(line)) as never),
    noNewTurns: () => undefined,
    why: () => "",
    signal: new AbortController().signal,
    ...parts,
  };
  return { requests: new Requests(options as unknown as RequestsOptions), told, sent };
}

test("an input whose record outlived its app-server is not forwarded to the next one", async () => {
  const supervisor = { hot: true, full: false, restarts: 0, hotAt: 0, ready: async () => {} };
  const busy = new Busy<Peer>();
  const dropped: string[] = [];
  const other = peerOf();
  const inputs = {
    knows: () => false,
    repeat: () => ({ kind: "new" }),
    // The disk is slow; meanwhile the app-server ends, comes back, and somebody else starts a turn.
    open: async () => {
      busy.clear();
      supervisor.restarts += 1;
      busy.start("t", other);
    },
    neverStarted: (input: string) => dropped.push(input),
  };
  const { requests, told, sent } = requestsOver({ supervisor, busy, inputs });
  const line = Buffer.from(
    '{"id":1,"method":"turn/start","params":{"threadId":"t","clientUserMessageId":"i"}}\n',
  );
  const scan = scanLine(line) ?? { open: 0 };
  await requests.handle({ peer: peerOf(), method: "turn/start", line, scan, id: Buffer.from("1") });
  expect(sent).toEqual([]);
  expect(told[0]?.error?.data?.reason).toBe("restarted");
  expect(dropped).toEqual([]);
  expect(busy.owner("t")).toBe(other);
});

test.for([
  [true, "unsettled"],
  [false, undefined],
] as const)(
  "an input that the ledger knows (%s) is not told as refused when its thread cannot be read now",
  async ([isKnown, reason]) => {
    const supervisor = { hot: true, full: false, restarts: 0, hotAt: 0, ready: async () => {} };
    const threads = {
      isLoaded: () => false,
      isNew: () => false,
      ensure: async () => {
        throw new Error("ENOSPC: no space left on device");
      },
    };
    const inputs = { knows: () => isKnown, isSettled: () => false };
    const { requests, told } = requestsOver({ supervisor, threads, inputs });
    const line = Buffer.from(
      '{"id":1,"method":"turn/start","params":{"threadId":"t","clientUserMessageId":"i"}}\n',
    );
    const scan = scanLine(line) ?? { open: 0 };
    const request = { peer: peerOf(), method: "turn/start", line, scan, id: Buffer.from("1") };
    await requests.handle(request);
    expect(told[0]?.error).toMatchObject({ message: expect.stringContaining("ENOSPC") });
    expect(told[0]?.error?.data?.reason).toBe(reason);
  },
);

test("a hold that was given up does not shorten the next one", async () => {
  vi.useFakeTimers();
  vi.advanceTimersByTime(1_000_000);
  const deadlines: number[] = [];
  const supervisor = {
    hotAt: 0,
    ready: async (deadline: number) => {
      deadlines.push(deadline);
      throw new Error("it does not run");
    },
  };
  const { requests } = requestsOver({ supervisor });
  const peer = peerOf();
  await expect(requests.ready(peer)).rejects.toThrow();
  vi.advanceTimersByTime(50_000);
  await expect(requests.ready(peer)).rejects.toThrow();
  supervisor.hotAt = 1_200_000;
  vi.advanceTimersByTime(950_000);
  await expect(requests.ready(peer)).rejects.toThrow();
  expect(deadlines).toEqual([1_000_000 + HOLD_MS, 1_000_000 + HOLD_MS, 2_000_000 + HOLD_MS]);
});
