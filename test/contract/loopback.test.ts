import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { silentLogger } from "#lib/logger.ts";
import { LOOPBACK_SECRET_HEADER } from "#runtime/loopback/headers.ts";
import { type Loopback, startLoopback } from "#runtime/loopback.ts";

interface Arrived {
  request: IncomingMessage;
  body: Buffer;
  response: ServerResponse;
}

/** A gateway that a test can start, stop and answer for by hand. */
class Gateway {
  readonly arrived: Arrived[] = [];
  #server = createServer();
  #wake = () => {};
  answer: (arrived: Arrived) => void = ({ response, body }) =>
    response.end(`got ${body.toString()}`);

  async listen(port = 0): Promise<number> {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const arrived = { request, response, body: Buffer.concat(chunks) };
        this.arrived.push(arrived);
        this.answer(arrived);
        this.#wake();
      });
    });
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  async request(count: number): Promise<Arrived> {
    while (this.arrived.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.arrived[count - 1] as Arrived;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

describe("the loopback port", () => {
  let folder: string;
  let tokenFile: string;
  let gateway: Gateway;
  let gatewayPort: number;
  let stop: AbortController;
  let loopback: Loopback;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "argus-loopback-"));
    tokenFile = join(folder, "token");
    await writeFile(tokenFile, "token-1\n");
    gateway = new Gateway();
    gatewayPort = await gateway.listen();
    stop = new AbortController();
    loopback = await start();
  });
  afterEach(async () => {
    stop.abort();
    await loopback.closed;
    await gateway.close();
    await rm(folder, { recursive: true });
  });

  const start = (holdMs?: number) =>
    startLoopback(
      {
        gatewayUrl: `http://127.0.0.1:${gatewayPort}/`,
        tokenFile,
        logger: silentLogger(),
        ...(holdMs === undefined ? {} : { holdMs }),
      },
      stop.signal,
    );

  function send(
    path: string,
    { headers = {}, body = "", method = "POST", port = loopback.port } = {},
  ) {
    const url = `http://127.0.0.1:${port}`;
    const secret = { [LOOPBACK_SECRET_HEADER]: loopback.secret };
    const sent = request(url, { path, method, headers: { ...secret, ...headers } });
    sent.on("error", () => {});
    sent.end(body);
    return sent;
  }

  async function read(sent: ReturnType<typeof send>) {
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return {
      status: response.statusCode,
      headers: response.headers,
      text: Buffer.concat(chunks).toString(),
    };
  }

  test("adds the token that is in the file now and hides what is the agent's", async () => {
    const headers = { authorization: "Bearer agent", cookie: "a=b", accept: "text/event-stream" };
    const answer = await read(send("/openai/v1/responses?x=1", { body: "hi", headers }));
    expect(answer).toMatchObject({ status: 200, text: "got hi" });
    const [first] = gateway.arrived;
    expect(first?.request.url).toBe("/openai/v1/responses?x=1");
    expect(first?.request.headers).toMatchObject({
      authorization: "Bearer token-1",
      accept: "text/event-stream",
      "content-length": "2",
      host: `127.0.0.1:${gatewayPort}`,
    });
    expect(first?.request.headers).not.toHaveProperty("cookie");
    expect(JSON.stringify(first?.request.headers)).not.toContain(loopback.secret);
    await writeFile(tokenFile, "token-2\n");
    await read(send("/mcp", { body: "{}" }));
    expect(gateway.arrived[1]?.request.headers.authorization).toBe("Bearer token-2");
  });

  test.each([
    ["no secret", "/mcp", { [LOOPBACK_SECRET_HEADER]: "" }, 401],
    ["a wrong secret", "/mcp", { [LOOPBACK_SECRET_HEADER]: "x".repeat(43) }, 401],
    ["a web page's origin", "/mcp", { origin: "http://127.0.0.1" }, 403],
    ["an opaque origin", "/mcp", { origin: "null" }, 403],
    ["a foreign host", "/mcp", { host: "attacker.example" }, 403],
    ["another path", "/sessions", {}, 404],
    ["a path that climbs out", "/openai/v1/../../sessions", {}, 404],
    ["a path that climbs out, encoded", "/openai/v1/%2e%2e/%2e%2e/sessions", {}, 404],
    ["a path that only begins alike", "/mcpx", {}, 404],
    ["another server's URL", "http://attacker.example/sessions", {}, 404],
  ])("refuses %s", async (_, path, headers, status) => {
    const answer = await read(send(path, { headers }));
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { type: "argus" } });
    expect(gateway.arrived).toEqual([]);
  });

  test("holds a request until the gateway is back and sends it whole", async () => {
    await gateway.close();
    const body = "x".repeat(3_000_000);
    const sent = send("/openai/v1/responses", { body });
    const answer = read(sent);
    await once(sent, "finish");
    await gateway.listen(gatewayPort);
    expect((await answer).text).toBe(`got ${body}`);
    expect(gateway.arrived.length).toBe(1);
  });

  test("repeats a request whose connection was cut before the first byte of the answer", async () => {
    let cuts = 2;
    gateway.answer = ({ request, response, body }) => {
      if (cuts-- > 0) request.socket.resetAndDestroy();
      else response.end(`after the cuts: ${body.toString()}`);
    };
    const answer = await read(send("/openai/v1/responses", { body: "again" }));
    expect(answer.text).toBe("after the cuts: again");
    expect(gateway.arrived.length).toBe(3);
  });

  test("never repeats after the first byte, and a cut answer is cut for the agent too", async () => {
    gateway.answer = ({ response, request }) => {
      response.write("data: half");
      setImmediate(() => request.socket.destroy());
    };
    await expect(read(send("/openai/v1/responses"))).rejects.toThrow(/aborted|hang up|ECONNRESET/);
    expect(gateway.arrived.length).toBe(1);
  });

  test("an error of the gateway is passed on, not repeated", async () => {
    gateway.answer = ({ response }) => {
      response.writeHead(503, { "retry-after": "7" }).end("no model");
    };
    const answer = await read(send("/openai/v1/responses"));
    expect(answer).toMatchObject({
      status: 503,
      text: "no model",
      headers: { "retry-after": "7" },
    });
    expect(gateway.arrived.length).toBe(1);
  });

  test("says after the hold that the gateway is away", async () => {
    await gateway.close();
    const short = await start(250);
    const host = `127.0.0.1:${short.port}`;
    const headers = { host, [LOOPBACK_SECRET_HEADER]: short.secret };
    const answer = await read(send("/mcp", { port: short.port, headers }));
    expect(answer.status).toBe(503);
    expect(answer.text).toContain("could not be reached");
  });

  test("a missing token counts as away and is waited for", async () => {
    await rm(tokenFile);
    const sent = send("/mcp", { body: "{}" });
    const answer = read(sent);
    await once(sent, "finish");
    await writeFile(tokenFile, "token-3");
    expect((await answer).status).toBe(200);
    expect(gateway.arrived[0]?.request.headers.authorization).toBe("Bearer token-3");
  });

  test("streams: the first event arrives while the answer goes on", async () => {
    gateway.answer = ({ response }) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: one\n\n");
    };
    const [response] = (await once(send("/openai/v1/responses"), "response")) as [IncomingMessage];
    expect(response.headers["content-type"]).toBe("text/event-stream");
    const [chunk] = (await once(response, "data")) as [Buffer];
    expect(chunk.toString()).toBe("data: one\n\n");
    gateway.arrived[0]?.response.end("data: two\n\n");
    const [rest] = (await once(response, "data")) as [Buffer];
    expect(rest.toString()).toBe("data: two\n\n");
  });

  test("an agent that leaves cancels the request at the gateway", async () => {
    gateway.answer = ({ response }) => response.write("data: one\n\n");
    const sent = send("/openai/v1/responses");
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    response.on("error", () => {});
    const arrived = await gateway.request(1);
    const left = once(arrived.response, "close");
    sent.destroy();
    await left;
    expect(arrived.response.writableFinished).toBe(false);
  });

  test("an agent that leaves before the answer cancels it too", async () => {
    gateway.answer = () => {};
    const sent = send("/openai/v1/responses");
    const arrived = await gateway.request(1);
    const left = once(arrived.response, "close");
    sent.destroy();
    await left;
    expect(gateway.arrived.length).toBe(1);
  });

  test("refuses a body over 64 MiB, announced or not, and lives on", async () => {
    const announced = send("/mcp", { headers: { "content-length": String(64 * 1024 * 1024 + 1) } });
    expect((await read(announced)).status).toBe(413);
    const secret = { [LOOPBACK_SECRET_HEADER]: loopback.secret };
    const unannounced = request(`http://127.0.0.1:${loopback.port}/mcp`, {
      method: "POST",
      headers: secret,
    });
    unannounced.on("error", () => {});
    // The refusal may be overtaken by the reset of the connection that still sends.
    const answer = read(unannounced).then(
      ({ status }) => status,
      () => "cut",
    );
    Readable.from(Array.from({ length: 66 }, () => Buffer.alloc(1024 * 1024))).pipe(unannounced);
    expect([413, "cut"]).toContain(await answer);
    expect(gateway.arrived).toEqual([]);
    expect((await read(send("/mcp", { body: "{}" }))).status).toBe(200);
  });

  test("an abort ends held requests and closes", async () => {
    await gateway.close();
    const sent = send("/mcp", { body: "{}" });
    await once(sent, "finish");
    const cut = new Promise((resolve) => {
      sent.once("close", resolve);
    });
    stop.abort();
    await cut;
    await loopback.closed;
  });
});
