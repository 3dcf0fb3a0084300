import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { monotonicMs } from "#lib/clock.ts";
import { ToolServers } from "#runtime/tool-servers.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function expecting(...names: string[]): ToolServers {
  const servers = new ToolServers();
  servers.expect(names);
  return servers;
}

/** Milliseconds until the thread's first turn may go. */
async function waited(servers: ToolServers, { most = 100_000 } = {}): Promise<number> {
  const since = monotonicMs();
  const done = servers.settled("t", since + most).then(() => monotonicMs() - since);
  await vi.runAllTimersAsync();
  return done;
}

test("a turn waits for the servers that start, also for those that fail, and once", async () => {
  const servers = expecting("argus", "tickets");
  servers.see("t", "argus", "starting");
  servers.see("t", "tickets", "starting");
  setTimeout(() => servers.see("t", "argus", "ready"), 50);
  setTimeout(() => servers.see("t", "tickets", "failed"), 9000);
  expect(await waited(servers)).toBe(9000);
  servers.see("t", "tickets", "starting");
  expect(await waited(servers)).toBe(0);
});

test("a server's first word may come after the thread's start", async () => {
  const servers = expecting("argus");
  setTimeout(() => servers.see("t", "argus", "starting"), 100);
  setTimeout(() => servers.see("t", "argus", "ready"), 5000);
  expect(await waited(servers)).toBe(5000);
});

test("servers of which nothing is said are waited for 2 s, one that never ends its start 35 s", async () => {
  expect(await waited(expecting("argus"))).toBe(2000);
  const servers = expecting("argus");
  servers.see("t", "argus", "starting");
  expect(await waited(servers)).toBe(35_000);
  expect(await waited(servers)).toBe(0);
});

test("a turn goes at the deadline of its request; an app-server without servers is not waited for", async () => {
  const servers = expecting("argus");
  servers.see("t", "argus", "starting");
  expect(await waited(servers, { most: 300 })).toBe(300);
  expect(await waited(expecting())).toBe(0);
});

test("another thread's servers tell nothing; nobody waits for a thread that is gone", async () => {
  const servers = expecting("argus");
  servers.see("t", "argus", "starting");
  setTimeout(() => servers.see("other", "argus", "ready"), 10);
  setTimeout(() => servers.reset(), 700);
  expect(await waited(servers)).toBe(700);
});
