import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";

let rig: GatewayRig;
let model: Server;
let handle: (request: IncomingMessage, response: ServerResponse) => unknown;
const KEY = "sk-of-the-tests";
beforeEach(async () => {
  model = createServer((incoming, response) => handle(incoming, response));
  model.listen(0, "127.0.0.1");
  await once(model, "listening");
  const { port } = model.address() as AddressInfo;
  rig = await GatewayRig.start({ model: { upstream: `http://127.0.0.1:${port}/v1/`, key: KEY } });
});
afterEach(async () => {
  await rig.stop();
  model.closeAllConnections();
  model.close();
});

const ask = (init: RequestInit = {}, query = "") =>
  fetch(`${rig.url}/openai/v1/responses${query}`, {
    method: "POST",
    body: '{"model":"m"}',
    ...init,
    headers: {
      authorization: `Bearer ${ADMIN}`,
      "content-type": "application/json",
      ...(init.headers as Record<string, string> | undefined),
    },
  });

test("it adds the key, joins the path and keeps the caller's credentials to itself", async () => {
  let seen: IncomingMessage | undefined;
  handle = (incoming, response) => {
    seen = incoming;
    response.setHeader("x-request-id", "r1").setHeader("set-cookie", "a=b").end("{}");
    incoming.resume();
  };
  const answer = await ask(
    { headers: { cookie: "c=d", "x-forwarded-for": "1.2.3.4", "openai-beta": "b" } },
    "?x=1",
  );
  expect(answer.status).toBe(200);
  expect(answer.headers.get("x-request-id")).toBe("r1");
  expect(answer.headers.get("set-cookie")).toBeNull();
  expect(seen?.url).toBe("/v1/responses?x=1");
  expect(seen?.headers.authorization).toBe(`Bearer ${KEY}`);
  expect(seen?.headers["openai-beta"]).toBe("b");
  expect(seen?.headers.cookie).toBeUndefined();
  expect(seen?.headers["x-forwarded-for"]).toBeUndefined();
  expect(JSON.stringify(seen?.headers)).not.toContain(ADMIN);
});

test("both directions stream: an event arrives before the next is made, the body before it is whole", async () => {
  const firstChunk = Promise.withResolvers<string>();
  const goOn = Promise.withResolvers<void>();
  handle = async (incoming, response) => {
    incoming.once("data", (chunk: Buffer) => firstChunk.resolve(chunk.toString()));
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: 1\n\n");
    await goOn.promise;
    response.end("data: 2\n\n");
  };
  const { port } = new URL(rig.url);
  const outgoing = request({
    port,
    host: "127.0.0.1",
    method: "POST",
    path: "/openai/v1/responses",
    headers: { authorization: `Bearer ${ADMIN}` },
  });
  outgoing.write("half");
  expect(await firstChunk.promise).toBe("half");
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  const [event] = (await once(response, "data")) as [Buffer];
  expect(event.toString()).toBe("data: 1\n\n");
  goOn.resolve();
  outgoing.end("rest");
  const [second] = (await once(response, "data")) as [Buffer];
  expect(second.toString()).toBe("data: 2\n\n");
});

test("a client that leaves cancels the upstream", async () => {
  const cancelled = Promise.withResolvers<void>();
  handle = (_incoming, response) => {
    response.once("close", () => cancelled.resolve());
    response.writeHead(200).write("data: 1\n\n");
  };
  const abort = new AbortController();
  const answer = await ask({ signal: abort.signal });
  expect(answer.status).toBe(200);
  abort.abort();
  await cancelled.promise;
});

test("a model that ends in the middle of a stream cuts the client's stream too", async () => {
  handle = (_incoming, response) => {
    response.writeHead(200).write("data: 1\n\n", () => response.destroy());
  };
  const answer = await ask();
  await expect(answer.text()).rejects.toThrow();
});

test("the model's own errors pass; redirects, a dead upstream and a body over the bound do not", async () => {
  handle = (incoming, response) => {
    incoming.resume();
    response.writeHead(429, { "retry-after": "7" }).end('{"error":{"message":"slow down"}}');
  };
  const limited = await ask();
  expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "7"]);
  handle = (incoming, response) => {
    incoming.resume();
    response.writeHead(307, { location: "http://127.0.0.1:1/steal" }).end();
  };
  const redirected = await ask({ redirect: "manual" });
  expect(redirected.status).toBe(502);
  expect(await redirected.json()).toMatchObject({
    error: { message: expect.stringMatching(/redirect/) },
  });
  const { port } = new URL(rig.url);
  const large = request({
    port,
    host: "127.0.0.1",
    method: "POST",
    path: "/openai/v1/responses",
    headers: { authorization: `Bearer ${ADMIN}`, "content-length": 2 ** 27 },
  });
  large.flushHeaders();
  const [refused] = (await once(large, "response")) as [IncomingMessage];
  expect(refused.statusCode).toBe(413);
  large.destroy();
  model.closeAllConnections();
  model.close();
  const dead = await ask();
  expect(dead.status).toBe(502);
  expect(await dead.json()).toMatchObject({
    error: { message: expect.stringMatching(/not reachable/) },
  });
});

test("without a key the refusal names it and is one that nobody tries again", async () => {
  await rig.stop();
  rig = await GatewayRig.start({ model: { upstream: "https://api.openai.com/v1" } });
  const answer = await ask();
  expect(answer.status).toBe(400);
  expect(await answer.text()).toContain("set ARGUS_MODEL_KEY or OPENAI_API_KEY");
});
