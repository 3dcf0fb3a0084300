import { expect, test } from "vitest";
import { scanLine } from "#lib/scan.ts";
import { Asks, MAX_ANSWERED_ASKS } from "#runtime/asks.ts";
import type { Peer } from "#runtime/peer.ts";

function rig() {
  const told: number[] = [];
  const written: string[] = [];
  const peer: Peer = { role: "client", epoch: 1, gone: false, send: () => {} };
  const asks = new Asks({
    firstId: 1000,
    write: (line) => written.push(String(line)),
    tell: (_, line) => told.push((JSON.parse(String(line)) as { id: number }).id),
    peers: () => new Set([peer]),
    ownerOf: () => undefined,
  });
  const ask = (id: number) => {
    const line = Buffer.from(`{"id":${id},"method":"session/request_permission","params":{}}\n`);
    asks.fromAppServer(line, scanLine(line) ?? { open: 0 }, 0);
  };
  const answer = (id: number | undefined) => {
    const line = Buffer.from(`{"id":${id},"result":{}}\n`);
    asks.answer(peer, line, scanLine(line) ?? { open: 0 });
  };
  return { asks, told, written, ask, answer };
}

test("a runtime that uses an id again after its answer is asked again, not left waiting", () => {
  const { asks, told, written, ask, answer } = rig();
  ask(1);
  ask(1);
  expect(told).toHaveLength(1);
  answer(told.at(-1));
  ask(1);
  expect(told).toHaveLength(2);
  answer(told.at(-1));
  expect(written).toEqual(['{"id":1,"result":{}}\n', '{"id":1,"result":{}}\n']);
  expect(asks.size).toBe(0);
});

test("answered questions whose end is never told are forgotten at their bound", () => {
  const { told, written, ask, answer } = rig();
  for (let id = 0; id <= MAX_ANSWERED_ASKS; id += 1) {
    ask(id);
    answer(told.at(-1));
  }
  expect(written).toHaveLength(MAX_ANSWERED_ASKS + 1);
  ask(0);
  expect(told.at(-1)).toBe(1000 + MAX_ANSWERED_ASKS + 1);
  ask(1);
  expect(told.at(-1)).toBe(1001);
});

/** Several peers; each told line is kept as [peer, id]. */
function crowd() {
  const person = (role: Peer["role"]): Peer => ({ role, epoch: 1, gone: false, send: () => {} });
  const peers = { owner: person("client"), other: person("client"), lane: person("lane") };
  const present = new Set<Peer>();
  const told: [Peer, number][] = [];
  const written: unknown[] = [];
  const asks = new Asks({
    firstId: 1000,
    write: (line) => written.push(JSON.parse(String(line))),
    tell: (peer, line) => told.push([peer, (JSON.parse(String(line)) as { id: number }).id]),
    peers: () => present,
    ownerOf: () => peers.owner,
  });
  const join = (peer: Peer) => {
    present.add(peer);
    asks.attach(peer);
  };
  const leave = (peer: Peer) => {
    present.delete(peer);
    asks.leave(peer);
  };
  const ask = (method: string) => {
    const line = Buffer.from(`{"id":7,"method":"${method}","params":{"threadId":"t"}}\n`);
    asks.fromAppServer(line, scanLine(line) ?? { open: 0 }, 0);
  };
  const answer = (peer: Peer, answered: object) => {
    const line = Buffer.from(`${JSON.stringify({ id: 1000, ...answered })}\n`);
    asks.answer(peer, line, scanLine(line) ?? { open: 0 });
  };
  return { ...peers, asks, told, written, join, leave, ask, answer };
}
const unknown = { error: { code: -32601, message: "what?" } };
const elicitation = "mcpServer/elicitation/request";
const declined = { id: 7, result: { action: "decline", content: null, _meta: null } };

test("a client that does not know a question withdraws from it and kills it for nobody else", () => {
  const { owner, other, told, written, join, ask, answer } = crowd();
  for (const peer of [owner, other]) join(peer);
  ask(elicitation);
  expect(told).toEqual([[owner, 1000]]);
  answer(owner, unknown);
  expect(told.at(-1)).toEqual([other, 1000]);
  expect(written).toEqual([]);
  answer(owner, { result: {} });
  expect(written).toEqual([]);
  answer(other, { result: { action: "accept" } });
  expect(written).toEqual([{ id: 7, result: { action: "accept" } }]);
});

test("a newcomer that does not know a question leaves it to the one that had it", () => {
  const { owner, other, asks, told, written, join, ask, answer } = crowd();
  join(owner);
  ask(elicitation);
  join(other);
  answer(other, unknown);
  asks.resumed(other, "t");
  expect(written).toEqual([]);
  expect(told).toHaveLength(2);
  answer(owner, { result: { action: "accept" } });
  expect(written).toEqual([{ id: 7, result: { action: "accept" } }]);
});

test("a question that no peer knows is refused at once in its own shape", () => {
  const { owner, lane, asks, written, join, ask, answer } = crowd();
  for (const peer of [owner, lane]) join(peer);
  ask(elicitation);
  answer(owner, unknown);
  expect(asks.size).toBe(1);
  answer(lane, unknown);
  expect(written).toEqual([declined]);
  expect(asks.size).toBe(0);
});

test("a question waits for one who had it and left, until its deadline", () => {
  const { owner, other, asks, written, join, leave, ask, answer } = crowd();
  for (const peer of [owner, other]) join(peer);
  ask(elicitation);
  leave(owner);
  answer(other, unknown);
  expect(written).toEqual([]);
  asks.sweep(30 * 60_000);
  expect(written).toEqual([declined]);
});

test("any other error of a client is its answer", () => {
  const { owner, other, written, join, ask, answer } = crowd();
  for (const peer of [owner, other]) join(peer);
  ask("item/tool/call");
  answer(owner, { error: { code: -32000, message: "the person said no" } });
  expect(written).toEqual([{ id: 7, error: { code: -32000, message: "the person said no" } }]);
});
