import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { decodeChunk, InvokeResult, NODE_EXTENSIONS, type OutputName } from "#protocol/node.ts";
import { eventually } from "./eventually.ts";

type Payload = Record<string, unknown>;
export interface NodeFrame {
  event: string;
  payload: Payload;
}

/** The gateway's side of `/nodes/ws` for tests: real sockets, the wire protocol, nothing of the gateway. */
export class NodeGateway {
  readonly #server: WebSocketServer;
  readonly extensions: readonly string[];
  /** Each text frame after `connect`, oldest first. */
  readonly frames: NodeFrame[] = [];
  readonly connects: Payload[] = [];
  readonly tokens: (string | undefined)[] = [];
  socket: WebSocket | undefined;
  onPair: ((socket: WebSocket, frame: Payload) => void) | undefined;
  /** Answers `connect`; a test may close instead. */
  onConnect: ((socket: WebSocket, frame: Payload) => void) | undefined;
  #collectors = new Map<number, Collector>();

  constructor(server: WebSocketServer, extensions: readonly string[]) {
    this.#server = server;
    this.extensions = extensions;
    server.on("connection", (socket, request) =>
      this.#accept(socket, request.headers.authorization),
    );
  }

  static async start(extensions: readonly string[] = NODE_EXTENSIONS): Promise<NodeGateway> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    await new Promise((resolve) => server.once("listening", resolve));
    return new NodeGateway(server, extensions);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/nodes/ws`;
  }

  #accept(socket: WebSocket, authorization: string | undefined): void {
    this.tokens.push(authorization);
    socket.on("error", () => undefined);
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (isBinary) return this.#chunk(data);
      const frame = JSON.parse(data.toString()) as Payload & { type: string };
      if (frame.type === "connect") this.#welcome(socket, frame);
      else if (frame.type === "pair.request") this.onPair?.(socket, frame);
      else this.#take(frame as unknown as NodeFrame);
    });
  }

  #welcome(socket: WebSocket, frame: Payload): void {
    this.connects.push(frame);
    if (this.onConnect) return this.onConnect(socket, frame);
    this.socket = socket;
    const payload = { nodeId: frame.nodeId, extensions: this.extensions };
    socket.send(JSON.stringify({ type: "event", event: "node.connected", payload }));
  }

  #take(frame: NodeFrame): void {
    this.frames.push(frame);
    if (frame.event !== "node.stream.end") return;
    const collector = this.#collectors.get(Number(frame.payload.streamId));
    if (collector) collector.end = frame.payload;
  }

  #chunk(data: Buffer): void {
    const chunk = decodeChunk(data);
    const collector = chunk && this.#collectors.get(chunk.streamId);
    if (chunk && collector) collector.add(chunk.output, chunk.offset, chunk.bytes);
  }

  send(event: string, payload: object): void {
    this.socket?.send(JSON.stringify({ type: "event", event, payload }));
  }

  connected(count = 1): Promise<unknown> {
    return eventually(`connect ${count}`, () => this.connects.length >= count);
  }

  request(command: string, params: object = {}, more: Payload = {}): string {
    const id = typeof more.id === "string" ? more.id : randomUUID();
    const nodeId = this.connects.at(-1)?.nodeId;
    const paramsJSON = JSON.stringify(params);
    this.send("node.invoke.request", {
      nodeId,
      command,
      paramsJSON,
      timeoutMs: 30_000,
      ...more,
      id,
    });
    return id;
  }

  results(id: string): InvokeResult[] {
    return this.frames
      .filter(({ event, payload }) => event === "node.invoke.result" && payload.id === id)
      .map(({ payload }) => InvokeResult.parse(payload));
  }

  result(id: string): Promise<InvokeResult> {
    return eventually(`result of ${id}`, () => this.results(id)[0]);
  }

  async invoke(command: string, params: object = {}, more: Payload = {}): Promise<Payload> {
    const { ok, payload, error } = await this.result(this.request(command, params, more));
    return ok ? (payload as Payload) : { error: error?.code, message: error?.message };
  }

  frame(event: string, matches: (payload: Payload) => boolean = () => true): Promise<Payload> {
    return eventually(event, () =>
      this.frames
        .filter((frame) => frame.event === event)
        .map(({ payload }) => payload)
        .find(matches),
    );
  }

  /** Opens a stream; acknowledges all that arrives. */
  open(collector: Collector, jobId: string): void {
    collector.ack = () =>
      this.send("node.stream.ack", { streamId: collector.id, ...collector.offsets });
    this.#collectors.set(collector.id, collector);
    const { stdout: stdoutOffset, stderr: stderrOffset } = collector.offsets;
    this.send("node.stream.open", { streamId: collector.id, jobId, stdoutOffset, stderrOffset });
  }

  cut(): void {
    this.socket?.terminate();
  }

  async stop(): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

let streams = 0;

/** Takes the bytes of one job's stream over any number of connections; a byte that is missing or doubled is an error. */
export class Collector {
  id = ++streams;
  offsets: Record<OutputName, number> = { stdout: 0, stderr: 0 };
  end: Payload | undefined;
  ack: () => void = () => undefined;
  onBytes: (output: OutputName, bytes: Buffer) => void = () => undefined;
  readonly errors: string[] = [];

  add(output: OutputName, offset: number, bytes: Buffer): void {
    if (offset !== this.offsets[output])
      this.errors.push(`${output}: expected ${this.offsets[output]}, got ${offset}`);
    this.offsets[output] = offset + bytes.length;
    this.onBytes(output, bytes);
    this.ack();
  }

  /** The same stream on a new connection: late bytes of the old one are not for it. */
  again(): void {
    this.id = ++streams;
  }
}
