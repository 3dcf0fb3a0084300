import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { generate } from "selfsigned";
import { Agent, type Dispatcher } from "undici";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import {
  EXPIRED,
  type Fault,
  type RandomFaults,
  type Strike,
  statusBody,
} from "./fault-proxy/faults.ts";
import { Front } from "./fault-proxy/front.ts";
import { describe, isWrite, type ProxiedRequest } from "./fault-proxy/request.ts";

/** The API server behind. */
export interface Upstream {
  server: string;
  caPem: string;
  token: string;
}

export interface FaultProxyOptions {
  /** Speaks HTTP/2 to whoever offers it; default true, as real API servers do. */
  http2?: boolean;
  /** Asked for each request; a promise holds the request back. */
  decide?: (request: ProxiedRequest) => Fault | undefined | Promise<Fault | undefined>;
}

/** A watch that the API server has accepted. */
interface Stream {
  connection: number;
  answer: Answer;
  beganMs: number;
}

type Request = IncomingMessage | Http2ServerRequest;
/** The part of both kinds of answers that is used here. */
type Answer = ServerResponse | Http2ServerResponse;

const NOT_FORWARDED =
  /^(:|connection$|host$|keep-alive$|transfer-encoding$|content-length$|http2-settings$|upgrade$)/;
const PASSED_BACK = /^(content-type|retry-after|warning|audit-id|x-kubernetes-)/;

/** A TLS-terminating proxy before a Kubernetes API server, with faults on demand. It is the only place that makes faults. */
export class FaultProxy {
  decide: NonNullable<FaultProxyOptions["decide"]>;
  /** Every request so far. */
  readonly requests: ProxiedRequest[] = [];
  /** When watches were open, in ms: from their acceptance to their end. */
  readonly watched: { fromMs: number; toMs: number }[] = [];
  readonly #upstream: Upstream;
  readonly #agent: Agent;
  readonly #folder: string;
  readonly #caPem: string;
  readonly #streams = new Set<Stream>();
  readonly #inner: { close(): void };
  readonly #front: Front;

  private constructor(made: {
    upstream: Upstream;
    folder: string;
    caPem: string;
    inner: { close(): void };
    innerPort: number;
    options: FaultProxyOptions;
  }) {
    this.#upstream = made.upstream;
    this.#folder = made.folder;
    this.#caPem = made.caPem;
    this.#inner = made.inner;
    this.#front = new Front(made.innerPort);
    this.decide = made.options.decide ?? (() => undefined);
    this.#agent = new Agent({
      connect: { ca: made.upstream.caPem },
      allowH2: false,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  static async start(upstream: Upstream, options: FaultProxyOptions = {}): Promise<FaultProxy> {
    const pems = await certificate();
    const inner =
      options.http2 === false
        ? createHttpsServer({ key: pems.private, cert: pems.cert })
        : createSecureServer({ key: pems.private, cert: pems.cert, allowHTTP1: true });
    inner.listen(0, "127.0.0.1");
    await once(inner, "listening");
    const { port: innerPort } = inner.address() as AddressInfo;
    const folder = await mkdtemp(join(tmpdir(), "argus-proxy-"));
    const proxy = new FaultProxy({ upstream, folder, caPem: pems.cert, inner, innerPort, options });
    inner.on("request", (request: Request, answer: Answer) => {
      void proxy.#serve(request, answer).catch(() => breakOff(answer));
    });
    for (const event of ["error", "tlsClientError", "sessionError"])
      inner.on(event, () => undefined);
    await proxy.#front.listen();
    await writeFile(proxy.kubeconfig, proxy.#kubeconfigText());
    return proxy;
  }

  get kubeconfig(): string {
    return join(this.#folder, "kubeconfig");
  }

  get server(): string {
    return `https://127.0.0.1:${this.#front.port}`;
  }

  get caPem(): string {
    return this.#caPem;
  }

  get connections(): Front["connections"] {
    return this.#front.connections;
  }

  get openWatches(): number {
    return this.#streams.size;
  }

  /** Requests by `verb resource`. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { verb, resource } of this.requests) {
      counts.set(`${verb} ${resource}`, (counts.get(`${verb} ${resource}`) ?? 0) + 1);
    }
    return counts;
  }

  /** What was written or tried to be; Leases and Events are nobody's state. */
  writes(): ProxiedRequest[] {
    return this.requests.filter(
      (request) => isWrite(request) && !/^(leases|events)$/.test(request.resource),
    );
  }

  refuse(): void {
    this.#front.refuse();
    this.#front.cut("reset");
  }

  accept(): Promise<void> {
    return this.#front.listen();
  }

  cutAll(how: "reset" | "end"): void {
    this.#front.cut(how);
  }

  /** Everybody is connected and nobody hears anything, until `heal`. */
  freeze(): void {
    for (const stream of this.#streams) this.#ended(stream);
    this.#front.freeze();
  }

  heal(): void {
    this.#front.heal();
  }

  /** Does this to one of the watches that run; false when none does. */
  strike(strike: Strike, random: RandomFaults): boolean {
    const all = [...this.#streams];
    const stream = all[random.below(all.length)];
    if (!stream) return false;
    if (strike === "reset" || strike === "end") this.#front.cut(strike, stream.connection);
    else if (strike === "silent") {
      this.#front.freeze(stream.connection);
      for (const each of all) if (each.connection === stream.connection) this.#ended(each);
    } else {
      write(
        stream.answer,
        { expired: EXPIRED, garbage: "garbage\n", halfLine: '{"type":' }[strike],
      );
      if (strike === "halfLine") breakOff(stream.answer);
    }
    return true;
  }

  /** Share of the time between two moments in which no watch was open. */
  blindShare(fromMs: number, toMs: number): number {
    const open = [...this.#streams].map(({ beganMs }) => ({ fromMs: beganMs, toMs }));
    let at = fromMs;
    let blind = 0;
    for (const span of [...this.watched, ...open].sort((a, b) => a.fromMs - b.fromMs)) {
      blind += Math.max(0, Math.min(span.fromMs, toMs) - at);
      at = Math.max(at, Math.min(span.toMs, toMs));
    }
    return (blind + Math.max(0, toMs - at)) / (toMs - fromMs);
  }

  async close(): Promise<void> {
    await this.#front.close();
    this.#inner.close();
    await this.#agent.destroy();
    await rm(this.#folder, { recursive: true });
  }

  #kubeconfigText(): string {
    const { server, caPem } = this;
    const { token } = this.#upstream;
    return kubeconfigYaml({ server, caPem, token, user: "admin", namespace: "default" });
  }

  async #serve(request: Request, answer: Answer): Promise<void> {
    const seen = this.#see(request);
    const body = await read(request);
    const fault = await this.decide(seen);
    if (fault?.kind === "delay") await delay(fault.ms);
    if (fault && this.#refused(fault, seen, answer)) return;
    const path = fault?.kind === "tooOld" ? fromTheFirst(seen) : (request.url ?? "/");
    const abort = new AbortController();
    answer.once("close", () => abort.abort());
    const upstream = await this.#agent.request({
      origin: this.#upstream.server,
      path,
      method: seen.method,
      headers: forwarded(request.headers),
      ...(body.length > 0 ? { body } : {}),
      // A request whose asker died still reaches the API server: only streams end with their reader.
      ...(seen.verb === "watch" ? { signal: abort.signal } : {}),
    });
    seen.status = upstream.statusCode;
    if (fault?.kind === "lost") {
      await upstream.body.dump();
      fault.committed?.(upstream.statusCode);
      this.#front.cut("reset", seen.connection);
      return;
    }
    await this.#answer(seen, { upstream, answer, fault });
  }

  #see(request: Request): ProxiedRequest {
    const url = new URL(request.url ?? "/", "http://proxy");
    const method = request.method ?? "GET";
    const seen: ProxiedRequest = {
      number: this.requests.length + 1,
      atMs: Date.now(),
      method,
      path: url.pathname,
      query: url.searchParams,
      ...describe(method, url.pathname, url.searchParams),
      connection: this.#front.numberOf(socketOf(request)?.remotePort),
    };
    this.requests.push(seen);
    return seen;
  }

  /** Whether the fault was the whole answer. */
  #refused(fault: Fault, { connection }: ProxiedRequest, answer: Answer): boolean {
    if (fault.kind === "status") {
      const { retryAfterSeconds } = fault;
      head(answer, fault.status, {
        "content-type": "application/json",
        ...(retryAfterSeconds && { "retry-after": String(retryAfterSeconds) }),
      });
      answer.end(statusBody(fault));
      return true;
    }
    if (fault.kind === "reset" || fault.kind === "end") this.#front.cut(fault.kind, connection);
    else if (fault.kind === "silent") this.#front.freeze(connection);
    else return false;
    return true;
  }

  async #answer(
    seen: ProxiedRequest,
    made: { upstream: Dispatcher.ResponseData; answer: Answer; fault: Fault | undefined },
  ): Promise<void> {
    const { upstream, answer, fault } = made;
    head(answer, upstream.statusCode, passedBack(upstream.headers));
    const stream = { connection: seen.connection, answer, beganMs: Date.now() };
    const isStream = seen.verb === "watch" && upstream.statusCode === 200;
    if (isStream) this.#streams.add(stream);
    try {
      if (fault?.kind === "lines") write(answer, fault.text);
      let leftBytes = fault?.kind === "cut" ? fault.afterBytes : Number.POSITIVE_INFINITY;
      for await (const chunk of upstream.body as AsyncIterable<Buffer>) {
        const bytes = chunk.subarray(0, leftBytes);
        leftBytes -= bytes.length;
        await send(answer, fault?.kind === "pieces" ? pieces(bytes) : [bytes]);
        if (leftBytes === 0 && fault?.kind === "cut") {
          this.#front.cut(fault.how, seen.connection);
          return;
        }
      }
      answer.end();
    } catch {
      breakOff(answer);
    } finally {
      if (isStream) this.#ended(stream);
    }
  }

  #ended(stream: Stream): void {
    if (!this.#streams.delete(stream)) return;
    this.watched.push({ fromMs: stream.beganMs, toMs: Date.now() });
  }
}

function certificate() {
  const altNames = [{ type: 7 as const, ip: "127.0.0.1" }];
  return generate([{ name: "commonName", value: "argus-fault-proxy" }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: true },
      { name: "subjectAltName", altNames },
    ],
  });
}

function socketOf(request: Request): Socket | undefined {
  return "stream" in request ? request.stream.session?.socket : request.socket;
}

async function read(request: Request): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function forwarded(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const entries = Object.entries(headers).filter(
    ([name, value]) => value !== undefined && !NOT_FORWARDED.test(name),
  );
  return Object.fromEntries(entries) as Record<string, string | string[]>;
}

function passedBack(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const entries = Object.entries(headers).filter(([name]) => PASSED_BACK.test(name));
  return Object.fromEntries(entries) as Record<string, string | string[]>;
}

function fromTheFirst({ path, query }: ProxiedRequest): string {
  const asked = new URLSearchParams(query);
  asked.set("resourceVersion", "1");
  asked.delete("sendInitialEvents");
  asked.delete("resourceVersionMatch");
  return `${path}?${asked.toString()}`;
}

function head(answer: Answer, status: number, headers: Record<string, string | string[]>): void {
  if (answer.destroyed) return;
  (answer as ServerResponse).writeHead(status, headers);
  (answer as ServerResponse).flushHeaders();
}

function write(answer: Answer, text: string): void {
  if (!answer.destroyed) (answer as ServerResponse).write(text);
}

async function send(answer: Answer, parts: Iterable<Buffer>): Promise<void> {
  for (const part of parts) {
    if (answer.destroyed) throw new Error("the client has gone");
    if ((answer as ServerResponse).write(part)) continue;
    await Promise.race([once(answer, "drain"), once(answer, "close")]);
  }
}

/** Pieces of 1 to 7 bytes, of every length in turn. */
function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0, length = 1; at < bytes.length; at += length, length = (length % 7) + 1) {
    yield bytes.subarray(at, at + length);
  }
}

function breakOff(answer: Answer): void {
  if ("stream" in answer) answer.stream?.destroy();
  else answer.destroy();
}
