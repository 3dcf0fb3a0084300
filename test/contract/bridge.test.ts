import { expect, test } from "vitest";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";

const start = bridgeSuite();

const threadOf = (result: Record<string, unknown>) => (result.thread as { id: string }).id;
const turnOf = (result: Record<string, unknown> | undefined) =>
  result?.turn as { id: string; status: string };
const newThread = async (peer: BridgePeer) => threadOf(await peer.request("thread/start", {}));
const turn = (threadId: string, text: string, clientUserMessageId?: string) => ({
  threadId,
  input: [{ type: "text", text }],
  ...(clientUserMessageId ? { clientUserMessageId } : {}),
});

test("hello tells boot, state, pod token and defaults; initialize is answered from the cache, initialized swallowed", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  expect(peer.hello.podToken).toBe("the-pod-token");
  expect(peer.hello.defaults.approvalPolicy).toMatch(/never|untrusted/);
  const first = await peer.request("initialize", { clientInfo: { name: "seed" } });
  const second = await (await bridge.join()).request("initialize", {});
  expect(second).toEqual(first);
  expect(first.got).toMatchObject({
    clientInfo: { name: "argus_bridge" },
    capabilities: { experimentalApi: true },
  });
  peer.send({ method: "initialized" });
  await peer.request("test/echo", {});
  const methods = bridge.received().map(({ method }) => method);
  expect(methods.filter((method) => method === "initialize")).toHaveLength(1);
  expect(methods.filter((method) => method === "initialized")).toHaveLength(1);
});

test("ids of any JSON type come back as they were; answers reach only the asker", async () => {
  const bridge = await start();
  const [a, b] = [await bridge.join(), await bridge.join()];
  const ids = [1, "1", "ä\n", null, 1e21, [1, { id: 2 }], { id: 3 }];
  for (const id of ids) {
    a.send({ params: { id: "inner", from: "a" }, id, method: "test/echo" });
    b.send({ method: "test/echo", params: { from: "b" }, id });
  }
  for (const [peer, from] of [
    [a, "a"],
    [b, "b"],
  ] as const) {
    await peer.request("test/echo", {});
    const echoes = peer.lines.filter(({ result }) => result?.from !== undefined);
    expect(echoes.map(({ id }) => id)).toEqual(ids);
    expect(new Set(echoes.map(({ result }) => result?.from))).toEqual(new Set([from]));
  }
});

test("two peers see each other's turn, numbered alike and without a gap", async () => {
  const bridge = await start();
  const [a, b] = [await bridge.join(), await bridge.join()];
  const threadId = await newThread(a);
  await a.request("turn/start", turn(threadId, "say hello"));
  await a.notification("turn/completed");
  await b.notification("turn/completed");
  const numbered = (peer: BridgePeer) =>
    peer.lines.filter(({ argusSeq }) => argusSeq !== undefined);
  const last = numbered(a).at(-1)?.argusSeq ?? 0;
  expect(numbered(b).filter(({ argusSeq = 0 }) => argusSeq <= last)).toEqual(
    numbered(a).slice(-numbered(b).length),
  );
  const seqs = numbered(a).map(({ argusSeq = 0 }) => argusSeq);
  expect(seqs).toEqual(seqs.map((_, index) => (seqs[0] ?? 0) + index));
  const raw = a.raw.find((line) => line.includes("item/agentMessage/delta"))?.toString();
  expect(raw).toMatch(/^\{"argusSeq":\d+,"method":"item\/agentMessage\/delta"/);
});

test("a peer that comes back with after gets what it missed, once; another boot is told as a gap", async () => {
  const bridge = await start();
  const a = await bridge.join();
  const threadId = await newThread(a);
  await a.notification("thread/started");
  const seen = Math.max(...a.lines.map(({ argusSeq = 0 }) => argusSeq));
  const { boot } = a.hello;
  a.close();
  const b = await bridge.join();
  await b.request("turn/start", turn(threadId, "say hello"));
  await b.notification("turn/completed");
  const back = await bridge.join({ after: seen, boot });
  await b.request("turn/start", turn(threadId, "say again"));
  const all = b.lines.filter(({ argusSeq = 0 }) => argusSeq > seen);
  await back.waitFor(
    "the second end",
    () => back.lines.filter(({ method }) => method === "turn/completed").length === 2,
  );
  const seqs = back.lines.flatMap(({ argusSeq }) => (argusSeq === undefined ? [] : [argusSeq]));
  expect(seqs).toEqual(seqs.map((_, index) => seen + 1 + index));
  expect(seqs.length).toBeGreaterThanOrEqual(all.length);
  const stranger = await bridge.join({ after: 7, boot: "another" });
  expect(await stranger.notification("argus/gap")).toEqual({
    method: "argus/gap",
    params: { from: 8, to: null, boot: "another" },
  });
  await stranger.waitFor("the first notification of this boot", ({ argusSeq }) => argusSeq === 1);
});

test("a lane is refused on a busy thread, its owner steers, others get busy, and the end frees it", async () => {
  const bridge = await start();
  const [owner, other, lane] = [
    await bridge.join(),
    await bridge.join(),
    await bridge.join({ role: "lane" }),
  ];
  const threadId = await newThread(owner);
  const { id } = turnOf(await owner.request("turn/start", turn(threadId, "hold")));
  for (const peer of [other, lane]) {
    const { error } = await peer.ask("turn/start", turn(threadId, "say x"));
    expect(error).toMatchObject({ code: -32001, data: { reason: "busy", threadId, turnId: id } });
  }
  expect(
    (await other.ask("turn/steer", { threadId, expectedTurnId: id, input: [] })).error?.code,
  ).toBe(-32001);
  expect(turnOf(await owner.request("turn/start", turn(threadId, "and this"))).id).toBe(id);
  await owner.request("turn/steer", { threadId, expectedTurnId: id, input: [] });
  await other.request("turn/interrupt", { threadId, turnId: id });
  await lane.notification("turn/completed");
  expect(turnOf(await lane.request("turn/start", turn(threadId, "hold"))).id).not.toBe(id);
  expect((await lane.ask("turn/start", turn(threadId, "say x"))).error?.code).toBe(-32001);
  expect(bridge.received().filter(({ method }) => method === "turn/start")).toHaveLength(3);
});

test("missing policy fields are filled, given ones stay byte for byte, a lane's are always ours", async () => {
  const bridge = await start();
  const [client, lane] = [await bridge.join(), await bridge.join({ role: "lane" })];
  const { defaults } = client.hello;
  const started = await client.request("thread/start", { model: "m" });
  expect(started.got).toEqual({ ...defaults, model: "m" });
  const own = { sandbox: "read-only", approvalPolicy: "on-request", cwd: "/own" };
  expect((await client.request("thread/start", own)).got).toEqual(own);
  expect((await lane.request("thread/start", own)).got).toEqual(defaults);
  const threadId = threadOf(started);
  client.socket.write(
    `{"id":5, "method":"turn/start","params" : {"threadId":"${threadId}","cwd":"/x","sandboxPolicy":{"type":"readOnly"},"approvalPolicy":"never","input":[{"type":"text","text":"say 1e400"}],"big":123456789012345678901234567890}}\n`,
  );
  await client.notification("turn/completed");
  const line = bridge.received().findLast(({ method }) => method === "turn/start");
  expect(line?.params).toMatchObject({
    cwd: "/x",
    sandboxPolicy: { type: "readOnly" },
    approvalPolicy: "never",
  });
});

test("a client's own choice for its thread is not overruled by the session's default in its turns", async () => {
  const bridge = await start();
  const client = await bridge.join();
  const own = { sandbox: "read-only", approvalPolicy: "on-request", cwd: "/own" };
  const threadId = threadOf(await client.request("thread/start", own));
  await client.request("turn/start", turn(threadId, "say hi"));
  const line = bridge.received().findLast(({ method }) => method === "turn/start");
  expect(line?.params).toMatchObject({
    cwd: "/own",
    approvalPolicy: "on-request",
    sandboxPolicy: { type: "readOnly" },
  });
});

test("bad lines get clear answers and the peer lives on", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  peer.socket.write("hello\n\n\r\n[1]\n{}\n");
  peer.socket.write(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 10]));
  await peer.request("test/echo", {});
  const codes = peer.lines.flatMap(({ id, error }) => (id === null ? [error?.code] : []));
  expect(codes).toEqual([-32700, -32700, -32600, -32700]);
  expect((await peer.ask("bridge/unknown")).error?.code).toBe(-32601);
  expect((await peer.ask("turn/start", turn("nobody", "say x"))).error?.message).toContain(
    "thread not found",
  );
});

test("a request beyond those in flight waits, a full queue says so, control calls pass", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  await peer.request("test/echo", {});
  for (let id = 1; id <= 300; id += 1) peer.send({ id, method: "test/silent", params: {} });
  const { error } = await peer.waitFor("a refusal", (line) => line.error !== undefined);
  expect(error).toMatchObject({ code: -32001, data: { reason: "inFlight" } });
  await peer.request("thread/loaded/list", {});
  expect(bridge.received().filter(({ method }) => method === "test/silent")).toHaveLength(50);
});

test("an app-server that dies at once is started again with back-off, and callers hear why", async () => {
  const bridge = await start({ runtime: { command: ["/bin/sh", "-c", "exit 3"] } });
  const peer = await bridge.join();
  await peer.waitFor(
    "failed",
    ({ method, params }) => method === "argus/bridge/state" && params?.state === "failed",
  );
  const ready = await bridge.get("/readyz");
  expect(ready.status).toBe(503);
  expect(ready.body).toContain("exited with 3");
});

test("garbage on stdout is counted, not forwarded", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const garbage = ["oops\n", "[1,2]\n", "{\n", "\n"].map((line) =>
    Buffer.from(line).toString("base64"),
  );
  await peer.request("test/emit", { lines: garbage });
  expect(JSON.parse((await bridge.get("/status")).body).garbageLines).toBe(3);
  expect(peer.lines.every(({ id, method }) => id !== undefined || method !== undefined)).toBe(true);
});

test("thread/unsubscribe of one peer does not silence the others", async () => {
  const bridge = await start();
  const [a, b] = [await bridge.join(), await bridge.join()];
  const threadId = await newThread(a);
  expect(await b.request("thread/unsubscribe", { threadId })).toEqual({ status: "unsubscribed" });
  expect(bridge.received().some(({ method }) => method === "thread/unsubscribe")).toBe(false);
});
