import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { GatewayPost, type PostResult } from "#controller/cron/post.ts";
import type { SlotEvent } from "#protocol/events.ts";
import { type EndpointFault, EventEndpoint } from "../fakes/event-endpoint.ts";
import { ManualClock } from "../support/manual-clock.ts";

let endpoint: EventEndpoint;
beforeEach(async () => {
  endpoint = await EventEndpoint.start();
});
afterEach(() => endpoint.stop());

const open = { check: () => {}, signal: new AbortController().signal };
const event: SlotEvent = {
  key: "uid/1774746000",
  sessionId: "main",
  kind: "cron",
  text: "tick",
  concurrencyPolicy: "Allow",
  slot: "2026-03-29T01:00:00Z",
  source: { name: "cron", uid: "uid" },
};

async function post(given: Partial<SlotEvent> = {}, fence = open): Promise<PostResult> {
  const gateway = new GatewayPost({ gatewayUrl: endpoint.url, timeoutMs: 300 });
  try {
    return await gateway.post({ ...event, ...given }, fence);
  } finally {
    await gateway.close();
  }
}

test("a queued event is a duplicate the second time; a skipped one stays skipped", async () => {
  expect(await post()).toEqual({ state: "queued" });
  expect(await post()).toEqual({ state: "duplicate" });
  endpoint.ledger.active.add("uid");
  const forbidden = { key: "uid/1774746600", concurrencyPolicy: "Forbid" } as const;
  const skipped = { state: "skipped", reason: "an earlier event is still active" };
  expect(await post(forbidden)).toEqual(skipped);
  endpoint.ledger.active.clear();
  expect(await post(forbidden)).toEqual(skipped);
});

test.each<[string, EndpointFault, string]>([
  ["a defect", { answer: 500 }, "GatewayUnavailable"],
  ["a bad way to it", { answer: 502 }, "GatewayUnavailable"],
  ["too much", { answer: 429, headers: { "retry-after": "7" } }, "GatewayBusy after 7000"],
  ["starting", { answer: 503, headers: { "retry-after": "1" } }, "GatewayBusy after 1000"],
  [
    "an endless pause",
    { answer: 429, headers: { "retry-after": "99999" } },
    "GatewayBusy after 300000",
  ],
  ["no pause that can be read", { answer: 429, headers: { "retry-after": "soon" } }, "GatewayBusy"],
  ["no token", { answer: 401 }, "GatewayRefusesToken"],
  ["a wrong one", { answer: 403 }, "GatewayRefusesToken"],
  ["an older gateway", { answer: 404, body: { detail: "Not Found" } }, "GatewayTooOld"],
  ["another server", { answer: 404, text: "<html>" }, "GatewayTooOld"],
  [
    "an unknown session",
    { answer: 404, body: { code: "SessionNotFound" } },
    "SessionUnknownToGateway",
  ],
  ["too large", { answer: 413 }, "EventRefused"],
  ["a success in other words", { answer: 200, body: { ok: true } }, "GatewayUnavailable"],
  ["a success that is none", { answer: 202, text: "<html>" }, "GatewayUnavailable"],
  ["an answer without end", { answer: 202, text: "x".repeat(70_000) }, "GatewayUnavailable"],
  ["cut before", { cut: "before commit" }, "GatewayUnavailable"],
  ["cut after", { cut: "after commit" }, "GatewayUnavailable"],
  ["silent before", { hang: "before commit" }, "GatewayUnavailable"],
  ["silent after", { hang: "after commit" }, "GatewayUnavailable"],
])(
  "%s is a failure with its reason, and a repeat finds out what was committed",
  async (_, fault, wanted) => {
    endpoint.fault = () => fault;
    const result = await post();
    if (result.state !== "failed") throw new Error(result.state);
    const { problem, retryAfterMs } = result;
    expect(retryAfterMs ? `${problem.reason} after ${retryAfterMs}` : problem.reason).toBe(wanted);
    endpoint.fault = () => undefined;
    const isCommitted = JSON.stringify(fault).includes("after commit");
    expect(await post()).toEqual({ state: isCommitted ? "duplicate" : "queued" });
    expect(endpoint.ledger.queuedSlots()).toEqual([1_774_746_000]);
  },
);

test("nobody there is a failure too", async () => {
  const gateway = new GatewayPost({ gatewayUrl: "http://127.0.0.1:1" });
  expect(await gateway.post(event, open)).toMatchObject({
    state: "failed",
    problem: { reason: "GatewayUnavailable" },
  });
  await gateway.close();
});

test("who no longer leads posts nothing", async () => {
  const over = new Error("no longer leads");
  const check = () => {
    throw over;
  };
  await expect(post({}, { ...open, check })).rejects.toBe(over);
  expect(endpoint.requests).toEqual([]);
  endpoint.fault = () => ({ hang: "before commit" });
  const lost = new AbortController();
  const posting = post({}, { check: () => {}, signal: lost.signal });
  lost.abort(over);
  await expect(posting).rejects.toBe(over);
});

test("a rotated token is read within ten seconds, and at once after a refusal", async () => {
  const folder = await mkdtemp(join(tmpdir(), "argus-post-"));
  const tokenFile = join(folder, "token");
  const clock = new ManualClock();
  const gateway = new GatewayPost({ gatewayUrl: `${endpoint.url}/`, tokenFile, clock });
  expect(await gateway.post(event, open)).toMatchObject({ problem: { reason: "TokenUnreadable" } });
  await writeFile(tokenFile, "one\n");
  await gateway.post(event, open);
  await writeFile(tokenFile, "two\n");
  await gateway.post(event, open);
  await clock.advance(10_000);
  endpoint.fault = () => ({ answer: 401 });
  await gateway.post(event, open);
  await writeFile(tokenFile, "three\n");
  await gateway.post(event, open);
  expect(endpoint.requests.map(({ token }) => token)).toEqual(["one", "one", "two", "three"]);
  await gateway.close();
  await rm(folder, { recursive: true });
});
