import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { WebSocketServer } from "ws";
import { openLink } from "#cli/chat/link.ts";
import type { Clock } from "#lib/clock.ts";

/** A gateway that greets and cuts, each time after `lastsMs` of the client's clock; returns the pauses before each redial. */
async function pausesOf(lastsMs: number, dials: number): Promise<number[]> {
  const stop = new AbortController();
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  onTestFinished(() => server.close());
  await once(server, "listening");
  let now = 0;
  const pauses: number[] = [];
  const clock: Clock = {
    now: () => now,
    monotonicMs: () => now,
    sleep: async (ms) => {
      pauses.push(ms);
      if (pauses.length === dials) stop.abort();
    },
  };
  server.on("connection", (socket) => socket.send('{"method":"argus/bridge/state"}'));
  const link = openLink(
    {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      token: "t",
      clock,
      query: () => ({}),
      onFrame: () => {
        now += lastsMs;
        for (const socket of server.clients) socket.close(1011);
      },
      onClosed: () => {},
    },
    stop.signal,
  );
  await link.closed;
  return pauses;
}

test("a session that greets and falls is dialled with growing pauses", async () => {
  const pauses = await pausesOf(100, 8);
  expect(Math.max(...pauses.slice(5))).toBeGreaterThan(400);
});

test("a connection that held starts the pauses anew", async () => {
  const pauses = await pausesOf(60_000, 8);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(400);
});
