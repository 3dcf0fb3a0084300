import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubeObject } from "#cluster/types.ts";

/** What happens to a request or a stream instead of the right answer. */
export type Fault =
  | { status: number; retryAfterSeconds?: number; reason?: string; causes?: unknown[] }
  | { cut: "end" | "reset"; afterBytes?: number }
  | { silent: true }
  | { line: string }
  | { event: "gone" };

interface Stream {
  response: ServerResponse;
  socket: Socket;
}

/** A collection of config maps served over real HTTP as the API server does, with faults on demand. */
export class FaultyApiServer {
  readonly objects = new Map<string, KubeObject>();
  readonly requests: { path: string; query: URLSearchParams; atMs: number }[] = [];
  /** Taken one per watch request (or list request), oldest first. */
  watchFaults: Fault[] = [];
  listFaults: Fault[] = [];
  /** Answers streamed lists with 422. */
  refusesStreamedLists = false;
  /** Sends every watch line in pieces of this many bytes. */
  pieceBytes = 0;
  version = 100;
  /** Watches from an older version get 410. */
  oldestVersion = 0;
  readonly #log: { version: number; type: string; object: KubeObject }[] = [];
  readonly #streams = new Set<Stream>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FaultyApiServer> {
    const server = createServer();
    const faulty = new FaultyApiServer(server);
    server.on("request", (request, response) => faulty.#answer(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return faulty;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Path of a kubeconfig file that names this server. */
  async kubeconfig(): Promise<string> {
    const path = join(await mkdtemp(join(tmpdir(), "argus-kube-")), "config");
    const config = {
      clusters: [{ name: "c", cluster: { server: `http://127.0.0.1:${this.port}` } }],
      users: [{ name: "u", user: { token: "eyJhbGciOiJub25lIn0.e30.secret" } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u", namespace: "work" } }],
      "current-context": "x",
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  put(name: string, data: Record<string, string>): void {
    const old = this.objects.get(name);
    this.#change(old ? "MODIFIED" : "ADDED", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace: "work", uid: old?.metadata.uid ?? `uid-${this.version}` },
      data,
    } as KubeObject);
  }

  remove(name: string): void {
    const old = this.objects.get(name);
    if (old) this.#change("DELETED", old);
  }

  bookmark(): void {
    const object = {
      kind: "ConfigMap",
      metadata: { name: "", resourceVersion: String(this.version) },
    };
    for (const stream of this.#streams) this.#write(stream, { type: "BOOKMARK", object });
  }

  /** Breaks every open watch. */
  cut(how: "end" | "reset"): void {
    for (const { response, socket } of this.#streams) {
      if (how === "end") response.end();
      else socket.resetAndDestroy();
    }
    this.#streams.clear();
  }

  /** Sends these bytes on every open watch. */
  inject(bytes: string): void {
    for (const { response } of this.#streams) response.write(bytes);
  }

  /** Forgets history: watches from before now get 410. */
  compact(): void {
    this.oldestVersion = this.version;
    this.#log.length = 0;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  #change(type: "ADDED" | "MODIFIED" | "DELETED", object: KubeObject): void {
    this.version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.version) };
    const next = { ...object, metadata };
    if (type === "DELETED") this.objects.delete(metadata.name);
    else this.objects.set(metadata.name, next);
    this.#log.push({ version: this.version, type, object: next });
    for (const stream of this.#streams) this.#write(stream, { type, object: next });
  }

  #write({ response }: Stream, event: unknown): void {
    const bytes = Buffer.from(`${JSON.stringify(event)}\n`);
    const step = this.pieceBytes || bytes.length;
    for (let at = 0; at < bytes.length; at += step) response.write(bytes.subarray(at, at + step));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://server");
    this.requests.push({ path: url.pathname, query: url.searchParams, atMs: Date.now() });
    const watch = url.searchParams.get("watch") === "true";
    const fault = (watch ? this.watchFaults : this.listFaults).shift();
    if (fault && this.#fail(fault, request, response)) return;
    if (watch) this.#watch(url.searchParams, { response, socket: request.socket }, fault);
    else this.#list(url.searchParams, response);
  }

  /** Whether the fault was the whole answer. */
  #fail(fault: Fault, request: IncomingMessage, response: ServerResponse): boolean {
    if ("status" in fault) {
      this.#refuse(response, fault);
      return true;
    }
    if ("cut" in fault && fault.cut === "reset" && !fault.afterBytes) {
      request.socket.resetAndDestroy();
      return true;
    }
    return false;
  }

  #refuse(response: ServerResponse, fault: Extract<Fault, { status: number }>): void {
    if (fault.retryAfterSeconds) response.setHeader("retry-after", fault.retryAfterSeconds);
    response.writeHead(fault.status, { "content-type": "application/json" });
    const { status: code, reason = "Injected", causes = [] } = fault;
    response.end(
      JSON.stringify({ kind: "Status", code, reason, message: "injected", details: { causes } }),
    );
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    const all = [...this.objects.values()];
    const limit = Number(query.get("limit") ?? all.length);
    const from = Number(query.get("continue") ?? 0);
    const next = from + limit < all.length ? { continue: String(from + limit) } : {};
    response.setHeader("content-type", "application/json");
    const metadata = { resourceVersion: String(this.version), ...next };
    response.end(JSON.stringify({ items: all.slice(from, from + limit), metadata }));
  }

  #watch(query: URLSearchParams, stream: Stream, fault: Fault | undefined): void {
    const initial = query.get("sendInitialEvents") === "true";
    if (initial && this.refusesStreamedLists) return this.#refuse(stream.response, { status: 422 });
    const from = Number(query.get("resourceVersion") ?? 0);
    if (!initial && from < this.oldestVersion) return this.#refuse(stream.response, GONE);
    stream.response.writeHead(200, { "content-type": "application/json" });
    stream.response.flushHeaders();
    if (fault && "silent" in fault) return;
    this.#streams.add(stream);
    stream.response.on("close", () => this.#streams.delete(stream));
    if (initial) this.#sendInitial(stream);
    else for (const entry of this.#log) if (entry.version > from) this.#write(stream, entry);
    if (fault) this.#disturb(stream, fault);
  }

  #sendInitial(stream: Stream): void {
    for (const object of this.objects.values()) this.#write(stream, { type: "ADDED", object });
    const annotations = { "k8s.io/initial-events-end": "true" };
    const metadata = { name: "", resourceVersion: String(this.version), annotations };
    this.#write(stream, { type: "BOOKMARK", object: { metadata } });
  }

  #disturb(stream: Stream, fault: Fault): void {
    if ("line" in fault) stream.response.write(fault.line);
    else if ("event" in fault) {
      this.#write(stream, {
        type: "ERROR",
        object: { kind: "Status", code: 410, reason: "Expired" },
      });
    } else if ("cut" in fault) {
      if (fault.cut === "end") stream.response.end();
      else setImmediate(() => stream.socket.resetAndDestroy());
    }
  }
}

const GONE = { status: 410, reason: "Expired" };
