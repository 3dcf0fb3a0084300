import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ArgusUp } from "../support/argus-up.ts";
import { WsClient } from "../support/ws-client.ts";

let up: ArgusUp;
beforeAll(async () => {
  up = await ArgusUp.start();
});
afterAll(async () => {
  await up?.destroy();
});

const MiB = 1024 * 1024;

function rssBytes(part: string): number {
  const [process] = up.find(`argus.mjs ${part}`);
  if (!process) throw new Error(`no ${part} runs`);
  const status = readFileSync(`/proc/${process.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
}

/** The session still works and neither process has died. */
async function stillWorks(): Promise<void> {
  const client = await up.connect({ session: "main" });
  await client.initialize();
  const { thread } = await client.request("thread/start");
  const { turn } = await client.request("turn/start", {
    threadId: (thread as { id: string }).id,
    input: [{ type: "text", text: "still here" }],
  });
  const { id } = turn as { id: string };
  await client.turnCompleted(id);
  expect(client.agentText(id)).toContain("still here");
  await client.close();
}

test.each(["hello", "[1,2,3]", '"text"', "{not json}", '{"id":1,"method":', "\u0000\u0001"])(
  "a frame that is not a JSON object gets an answer: %j",
  async (text) => {
    const client = await up.connect({ session: "main" });
    await client.initialize();
    client.sendRaw(text);
    const answer = await client.waitFor("an error", (m) => m.error !== undefined);
    expect(answer.error?.code).toBe(-32700);
    await client.request("thread/list", { limit: 1 }); // the connection lives on
    await client.close();
  },
);

test("64 MiB in one frame are refused with 1009 and memory stays bounded", async () => {
  const client = await up.connect({ session: "main" });
  const before = rssBytes("gateway");
  client.sendRaw(Buffer.alloc(64 * MiB, 0x61));
  expect((await client.waitClosed()).code).toBe(1009);
  expect(rssBytes("gateway") - before).toBeLessThan(64 * MiB);
  await stillWorks();
});

test("a wrong token is told so and the socket closed with 1008", async () => {
  const client = await WsClient.connect({ url: up.url, token: "wrong-token-wrong-token" });
  expect(await client.waitClosed()).toEqual({ code: 1008, reason: "Unauthorized" });
});

test("an unknown session is told so and not made", async () => {
  const client = await up.connect({ session: "nobody-made-this" });
  expect(await client.waitClosed()).toEqual({ code: 1008, reason: "Unknown session" });
  const sessions = await up.kubectl(["get", "asess", "-o", "name"]);
  expect(sessions).not.toContain("nobody");
});

test("a wrong field of a session is refused with its path", async () => {
  const wrong = `
apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: wrong }
spec: { limits: { pids: 10 }, approvals: sometimes }
`;
  const said = await up.tryKubectl(["apply", "-f", "-"], wrong);
  expect(said.code).not.toBe(0);
  expect(said.stderr).toContain("spec.limits.pids");
  expect(said.stderr).toContain("greater than or equal to 64");
  expect(said.stderr).toContain("spec.approvals");
});

async function bridgeSocket(): Promise<Socket> {
  const pods = ["pods", "-l", "argus.dev/session=main"];
  const said = await up.kubectl(["get", ...pods, "-o", "jsonpath={.items[0].status.podIP}"]);
  const socket = connect(7777, said.trim());
  socket.on("error", () => undefined); // reset while we still wrote: it has closed
  await once(socket, "connect");
  return socket;
}

/** All that the bridge answered until it closed. */
async function answerOf(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await new Promise((resolve) => socket.on("close", resolve));
  return Buffer.concat(chunks).toString();
}

test.each([
  { what: "not JSON", line: "GET / HTTP/1.1\r\n\r\n" },
  { what: "no hello", line: '{"id":0,"method":"initialize","params":{}}\n' },
  {
    what: "a forged token",
    line: '{"id":1,"method":"bridge/hello","params":{"token":"a.b.c","role":"lane"}}\n',
  },
])("port 7777 refuses $what and gives nothing of the agent away", async ({ line }) => {
  const socket = await bridgeSocket();
  const answer = answerOf(socket);
  socket.write(line);
  expect(await answer).not.toContain("thread");
  await stillWorks();
});

test("port 7777 takes no 64 MiB without a newline", async () => {
  const before = rssBytes("bridge");
  const socket = await bridgeSocket();
  const answer = answerOf(socket);
  socket.write(Buffer.alloc(64 * MiB, 0x20));
  await answer;
  expect(rssBytes("bridge") - before).toBeLessThan(48 * MiB);
  await stillWorks();
});
