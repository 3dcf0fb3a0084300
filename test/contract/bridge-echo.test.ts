import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeVolume, removeVolume, startTestBridge, type TestBridge } from "../support/bridge.ts";
import type { BridgePeer } from "../support/bridge-peer.ts";

/** A real bridge over the real echo: what a person without a model key gets. */
describe("a bridge over the built-in echo", () => {
  let bridge: TestBridge;

  beforeEach(async () => {
    const volume = await makeVolume();
    const bin = join(volume.folder, "bin");
    mkdirSync(bin);
    const runner = join(import.meta.dirname, "../support/run-echo.ts");
    writeFileSync(
      join(bin, "argus"),
      `#!/bin/sh\nexec "${process.execPath}" "${runner}" "$HOME"\n`,
    );
    chmodSync(join(bin, "argus"), 0o755);
    bridge = await startTestBridge({
      volume,
      runtime: { command: ["argus", "echo"] },
      env: { PATH: `${bin}:/usr/bin:/bin` },
    });
  });
  afterEach(async () => {
    await bridge.stop();
    await removeVolume(bridge.volume);
  });

  async function newThread(peer: BridgePeer): Promise<string> {
    const { thread } = await peer.request("thread/start");
    return (thread as { id: string }).id;
  }

  async function startTurn(peer: BridgePeer, threadId: string, text: string, id?: string) {
    const input = [{ type: "text", text }];
    const { turn } = await peer.request("turn/start", { threadId, input, clientUserMessageId: id });
    return (turn as { id: string }).id;
  }

  const ended = async (peer: BridgePeer, turnId: string, from = 0) => {
    const isEnd = (turn: unknown) => (turn as { id?: string } | undefined)?.id === turnId;
    const line = await peer.waitFor(
      "the turn's end",
      ({ method, params }) => method === "turn/completed" && isEnd(params?.turn),
      from,
    );
    return (line.params?.turn as { status?: string } | undefined)?.status;
  };

  async function turns(peer: BridgePeer, threadId: string) {
    const params = { threadId, itemsView: "full", sortDirection: "asc" };
    return (await peer.request("thread/turns/list", params)).data as {
      id: string;
      status: string;
      items: { type: string; text?: string; clientId?: string | null }[];
    }[];
  }

  test("is labelled in hello, repeats what it hears, and makes one turn of an input that comes twice", async () => {
    const peer = await bridge.join();
    expect(peer.hello.echo).toBe(true);
    const threadId = await newThread(peer);
    const turnId = await startTurn(peer, threadId, "good morning", "in-1");
    expect(await ended(peer, turnId)).toBe("completed");
    expect(await startTurn(peer, threadId, "good morning", "in-1")).toBe(turnId);
    const [turn, ...more] = await turns(peer, threadId);
    expect(more).toEqual([]);
    expect(turn?.items.at(-1)?.text).toContain("echo: good morning");
  });

  test("an approval goes to the turn's owner and its answer comes back", async () => {
    const [owner, other] = [await bridge.join(), await bridge.join()];
    const turnId = await startTurn(owner, await newThread(owner), "/approve ls");
    const ask = await owner.waitFor("the question", ({ id, method }) =>
      Boolean(method?.endsWith("requestApproval") && typeof id === "number"),
    );
    owner.send({ id: ask.id, result: { decision: "decline" } });
    expect(await ended(owner, turnId)).toBe("completed");
    expect(await ended(other, turnId)).toBe("completed");
    expect(other.lines.filter(({ method }) => method?.endsWith("requestApproval"))).toEqual([]);
  });

  test("after a SIGKILL of the echo the thread goes on and the cut input is not run again", async () => {
    const peer = await bridge.join();
    const threadId = await newThread(peer);
    expect(await ended(peer, await startTurn(peer, threadId, "first", "in-1"))).toBe("completed");
    const cut = await startTurn(peer, threadId, "/slow 600", "in-2");
    await peer.waitFor(
      "a delta of it",
      ({ method, params }) => method === "item/agentMessage/delta" && params?.turnId === cut,
    );
    const from = peer.lines.length;
    process.kill(bridge.appServerPid(), "SIGKILL");
    await peer.notification("argus/restarted", from);
    const again = await peer.ask("turn/start", {
      threadId,
      input: [{ type: "text", text: "/slow 600" }],
      clientUserMessageId: "in-2",
    });
    expect((again.result?.turn as { id: string } | undefined)?.id ?? cut).toBe(cut);
    const next = await startTurn(peer, threadId, "and on", "in-3");
    expect(await ended(peer, next)).toBe("completed");
    const all = await turns(peer, threadId);
    expect(all.map(({ status }) => status)).toEqual(["completed", "interrupted", "completed"]);
    const inputs = all.flatMap(({ items }) =>
      items.map(({ clientId }) => clientId).filter(Boolean),
    );
    expect(inputs).toEqual(["in-1", "in-2", "in-3"]);
  });
});
