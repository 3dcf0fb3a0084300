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
    asks.answer(line, scanLine(line) ?? { open: 0 });
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
