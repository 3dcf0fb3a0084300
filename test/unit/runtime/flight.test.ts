import { expect, test } from "vitest";
import type { RpcError } from "#protocol/envelope.ts";
import { Flight, MAX_IN_FLIGHT, MAX_LASTING, MAX_QUEUED, type Pending } from "#runtime/flight.ts";
import type { Peer } from "#runtime/peer.ts";

const peer = (): Peer => ({ role: "client", epoch: 1, gone: false, send: () => undefined });

interface Sent extends Pending {
  end?: Buffer | { error: RpcError; forwarded: boolean };
  ends: number;
}

function pending(method: string, from: Peer | undefined): Sent {
  const sent: Sent = {
    method,
    peer: from,
    line: Buffer.from('{"id":"own"}'),
    at: { start: 6, end: 11 },
    ends: 0,
    answered: (line) => {
      sent.end = line;
      sent.ends += 1;
    },
    failed: (error, forwarded) => {
      sent.end = { error, forwarded };
      sent.ends += 1;
    },
  };
  return sent;
}

function rig() {
  const written: string[] = [];
  const flight = new Flight((pieces) => written.push(Buffer.concat(pieces).toString()));
  const send = (method: string, from: Peer | undefined) => {
    const sent = pending(method, from);
    flight.send(sent);
    return sent;
  };
  const answer = (id: number) => {
    const line = Buffer.from(`{"id":${id}}`);
    return flight.answer(line, { start: 6, end: line.length - 1 });
  };
  return { written, flight, send, answer };
}

test("so many at once, the next when one is answered, the bridge's own and control calls at any time", () => {
  const { written, send, answer } = rig();
  const from = peer();
  const all = Array.from({ length: MAX_IN_FLIGHT + 1 }, () => send("thread/list", from));
  expect(written).toHaveLength(MAX_IN_FLIGHT);
  send("turn/interrupt", from);
  send("thread/resume", undefined);
  expect(written).toHaveLength(MAX_IN_FLIGHT + 2);
  for (let id = 1; id <= 3; id += 1) expect(answer(id)).toBe(true);
  expect(written).toHaveLength(MAX_IN_FLIGHT + 3);
  expect(all[0]?.end).toEqual(Buffer.from('{"id":"own"}'));
  expect(answer(1)).toBe(false);
});

test("a full queue refuses, and nothing of it was forwarded", () => {
  const { written, send } = rig();
  const from = peer();
  for (let n = 0; n < MAX_IN_FLIGHT + MAX_QUEUED; n += 1) send("thread/list", from);
  const refused = send("thread/list", from);
  expect(refused.end).toMatchObject({ error: { code: -32001 }, forwarded: false });
  expect(written).toHaveLength(MAX_IN_FLIGHT);
});

test("lasting requests have no timeout and a bound of their own", () => {
  const { flight, send } = rig();
  const from = peer();
  const lasting = Array.from({ length: MAX_LASTING }, () => send("command/exec", from));
  expect(send("command/exec", from).end).toMatchObject({ forwarded: false });
  const control = send("turn/interrupt", from);
  const general = send("thread/list", from);
  const now = performance.now();
  flight.sweep(now + 11_000);
  expect(control.end).toMatchObject({ error: { data: { reason: "timeout" } }, forwarded: true });
  expect(general.end).toBeUndefined();
  flight.sweep(now + 121_000);
  expect(general.end).toMatchObject({ forwarded: true });
  expect(lasting.every(({ end }) => end === undefined)).toBe(true);
});

test("who leaves takes along what waits; the process's end fails all, each once", () => {
  const { written, flight, send, answer } = rig();
  const [gone, stays] = [peer(), peer()];
  const first = Array.from({ length: MAX_IN_FLIGHT }, () => send("thread/list", stays));
  const queued = [send("thread/list", gone), send("thread/list", stays)];
  flight.leave(gone);
  expect(queued[0]?.end).toMatchObject({ forwarded: false });
  expect(queued[1]?.ends).toBe(0);
  flight.failAll({ code: 1, message: "ended" });
  expect(queued[1]?.end).toEqual({ error: { code: 1, message: "ended" }, forwarded: false });
  expect(first.every(({ ends, end }) => ends === 1 && end !== undefined)).toBe(true);
  expect(answer(1)).toBe(false);
  expect(flight.size).toBe(0);
  expect(written).toHaveLength(MAX_IN_FLIGHT);
});
