import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, createServer as createPlain } from "node:net";
import { afterEach, expect, test } from "vitest";
import { post } from "#webhook/post.ts";

const servers: { close(): unknown }[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function listen(server: Server | ReturnType<typeof createPlain>): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  servers.push(server);
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
}
const serve = (listener: RequestListener) => listen(createServer(listener));
const send = (url: string, signal = AbortSignal.timeout(20_000)) =>
  post({ url, headers: { "x-test": "1" }, body: '{"a":1}', ref: "r" }, signal);

test("what the receiver answers counts, however long its body is", async () => {
  const seen: unknown[] = [];
  const url = await serve((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk));
    request.on("end", () => {
      seen.push([request.method, request.headers["x-test"], body]);
      response.writeHead(202);
      response.write("x".repeat(100_000));
    });
  });
  expect(await send(url)).toEqual({ state: "sent", ref: "r" });
  expect(seen).toEqual([["POST", "1", '{"a":1}']]);
});

test("nobody listens, or nobody has that name: nothing was sent", async () => {
  const server = createPlain();
  const url = await listen(server);
  server.close();
  await once(server, "close");
  expect(await send(url)).toMatchObject({
    state: "notSent",
    reason: expect.stringContaining("ECONNREFUSED"),
  });
  expect(await send("http://nobody.invalid/")).toMatchObject({ state: "notSent" });
  expect(await send("https://127.0.0.1:1/")).toMatchObject({ state: "notSent" });
});

test("a connection that makes no TLS has taken no byte of the request", async () => {
  const url = await listen(createPlain((socket) => socket.destroy()));
  expect(await send(url.replace("http:", "https:"))).toMatchObject({ state: "notSent" });
});

test("cut or stopped after the request left: nobody knows", async () => {
  const cut = await listen(createPlain((socket) => socket.once("data", () => socket.destroy())));
  expect(await send(cut)).toMatchObject({ state: "unknown" });
  const stop = new AbortController();
  const mute = await serve(() => stop.abort());
  expect(await send(mute, stop.signal)).toMatchObject({
    state: "unknown",
    reason: expect.stringContaining("stopped"),
  });
});
