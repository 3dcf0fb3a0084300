import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "#lib/logger.ts";
import type { Listening } from "#lib/running.ts";
import type { HelloParams, HelloRefusal, HelloResult } from "#protocol/bridge.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import type { EpochFence } from "./epoch.ts";
import { checkHello, type HelloCheck } from "./hello.ts";
import { type Peer, PeerConnection } from "./peer.ts";
import { errorLine, resultLine } from "./rpc.ts";
import { UsedTokens } from "./used-tokens.ts";

export const MAX_HELLO_BYTES = 16 * 1024;
export const HELLO_DEADLINE_MS = 10_000;
export const MAX_PEERS = 256;
/** Connections without a hello so far. */
const MAX_STRANGERS = 64;
/** How long a refused peer may take to read why. */
const LINGER_MS = 2000;

export interface ListenerOptions {
  host: string;
  port: number;
  podUid: string;
  keysFolder: string;
  fence: EpochFence;
  logger: Logger;
  helloDeadlineMs?: number;
  maxUnsentBytes?: number;
  /** The answer to an accepted hello, but for `seq`. A throw refuses the peer. */
  welcome: () => Promise<Omit<HelloResult, "seq">>;
  /** Read in the same step that attaches the peer: what comes after this number reaches it. */
  seq: () => number;
  /** The peer was answered: from here on it is one of the peers. */
  attach: (peer: Peer, params: HelloParams) => void;
  detach: (peer: Peer) => void;
  onLine: (peer: Peer, line: Buffer) => void | Promise<void>;
  onSkew: (skewMs: number) => void;
}

/** The peers' port: nothing is read or written before a valid hello, and only one epoch of gateways is served. */
export class Listener implements Listening {
  readonly closed: Promise<void>;
  readonly host: string;
  readonly port: number;
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #peers = new Set<PeerConnection>();
  readonly #used = new UsedTokens();

  private constructor(options: ListenerOptions, server: Server) {
    this.#options = options;
    this.#server = server;
    const { address, port } = server.address() as AddressInfo;
    this.host = address;
    this.port = port;
    this.closed = once(server, "close").then(() => undefined);
    server.on("connection", (socket) => this.#accept(socket));
  }

  static async start(options: ListenerOptions, signal: AbortSignal): Promise<Listener> {
    const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 });
    server.listen(options.port, options.host);
    await once(server, "listening", { signal });
    return new Listener(options, server);
  }

  get peers(): number {
    return this.#peers.size;
  }

  /** Lets what was written leave, then closes everything. */
  stop(): void {
    this.#server.close();
    for (const peer of this.#peers) peer.end();
    const sockets = [...this.#sockets];
    setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, LINGER_MS / 4);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", (error) => this.#options.logger.debug({ err: error }, "peer socket error"));
    socket.once("close", () => this.#sockets.delete(socket));
    const strangers = this.#sockets.size - this.#peers.size;
    if (strangers > MAX_STRANGERS) return turnAway(socket, strangers > 2 * MAX_STRANGERS);
    this.#greet(socket).catch((error: unknown) => {
      this.#options.logger.warn({ err: error }, "peer was not accepted");
      socket.destroy();
    });
  }

  async #greet(socket: Socket): Promise<void> {
    const read = await readHello(socket, this.#options.helloDeadlineMs ?? HELLO_DEADLINE_MS);
    if (!read) return;
    const { line, rest } = read;
    const { keysFolder, podUid } = this.#options;
    const check = await checkHello(line, { keysFolder, podUid, used: this.#used, now: Date.now() });
    if (!check.ok) return this.#refuse(socket, check);
    const { epoch, id, params } = check;
    if (!(await this.#fenced(epoch))) return this.#refuse(socket, this.#stale(id));
    if (this.#peers.size >= MAX_PEERS)
      return this.#refuse(socket, { ok: false, id, refusal: busy() });
    const result = await this.#options.welcome();
    // Read again: a higher epoch may have come while we waited.
    if (epoch < this.#options.fence.highest) return this.#refuse(socket, this.#stale(id));
    if (socket.destroyed) return;
    this.#join({ socket, epoch, id, params, rest, result });
  }

  /** Whether the epoch is served. A higher one closes all connections of lower ones before anything else happens. */
  async #fenced(epoch: number): Promise<boolean> {
    const { fence, logger } = this.#options;
    const met = fence.meet(epoch);
    if (met === "stale") return false;
    if (met === "new") {
      for (const peer of this.#peers) {
        if (peer.epoch < epoch) peer.destroy();
      }
      logger.info({ epoch }, "a gateway of a higher epoch came");
    }
    await fence.saved();
    return true;
  }

  #join(accepted: Accepted): void {
    const { socket, epoch, id, params, rest, result } = accepted;
    const { attach, detach, onLine, logger, maxUnsentBytes } = this.#options;
    const peer = new PeerConnection(socket, {
      role: params.role,
      epoch,
      onLine: (line) => onLine(peer, line),
      onCutOff: (unsentBytes) => logger.warn({ unsentBytes }, "peer does not read and was cut off"),
      ...(maxUnsentBytes === undefined ? {} : { maxUnsentBytes }),
    });
    this.#peers.add(peer);
    socket.once("close", () => {
      this.#peers.delete(peer);
      detach(peer);
    });
    peer.send(resultLine(id, { ...result, seq: this.#options.seq() }));
    attach(peer, params);
    peer.start(rest);
  }

  #stale(id: Buffer): HelloCheck & { ok: false } {
    const epoch = this.#options.fence.highest;
    return { ok: false, id, refusal: { reason: "epoch", now: Date.now(), epoch } };
  }

  #refuse(socket: Socket, { id, refusal, skewMs }: HelloCheck & { ok: false }): void {
    this.#options.logger.warn({ reason: refusal.reason }, "hello was refused");
    if (skewMs !== undefined) this.#options.onSkew(skewMs);
    const message = MESSAGES[refusal.reason];
    socket.end(errorLine(id, { code: RPC_ERROR.invalidRequest, message, data: refusal }));
    socket.removeAllListeners("data").resume();
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  }
}

interface Accepted {
  socket: Socket;
  epoch: number;
  id: Buffer;
  params: HelloParams;
  rest: Buffer;
  result: Omit<HelloResult, "seq">;
}

const MESSAGES: Record<HelloRefusal["reason"], string> = {
  malformed: "The first line must be a bridge/hello request with a token and a role",
  signature: "The token is not signed by a key in the keys folder",
  audience: "The token is for another pod",
  time: "The token is not valid at this time; compare the clocks",
  role: "The token is not signed for this role",
  used: "The token was used before; sign a fresh one for each hello",
  busy: "The bridge has too many connections; try again later",
  epoch: "A gateway of a higher epoch was here; this one is out of date",
};

const busy = (): HelloRefusal => ({ reason: "busy", now: Date.now() });

/** One that is not even read. In a flood nobody is told why: that would cost what the bound saves. */
function turnAway(socket: Socket, isFlood: boolean): void {
  if (isFlood) {
    socket.destroy();
    return;
  }
  const error = { code: RPC_ERROR.busy, message: MESSAGES.busy, data: busy() };
  socket.end(errorLine(null, error), () => socket.destroy());
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** The first line and what came behind it; undefined (and a destroyed socket) when it does not come in time or is too long. */
async function readHello(
  socket: Socket,
  deadlineMs: number,
): Promise<{ line: Buffer; rest: Buffer } | undefined> {
  const late = new AbortController();
  const timer = delay(deadlineMs, undefined, { signal: late.signal }).then(
    () => socket.destroy(),
    () => undefined,
  );
  try {
    return await firstLine(socket);
  } finally {
    late.abort();
    await timer;
  }
}

function firstLine(socket: Socket): Promise<{ line: Buffer; rest: Buffer } | undefined> {
  return new Promise((resolve) => {
    let read = Buffer.alloc(0);
    const done = (result: { line: Buffer; rest: Buffer } | undefined) => {
      socket.off("data", onData);
      socket.off("close", onClose);
      socket.pause();
      if (!result) socket.destroy();
      resolve(result);
    };
    const onClose = () => done(undefined);
    const onData = (chunk: Buffer) => {
      read = Buffer.concat([read, chunk]);
      const end = read.indexOf(10) + 1;
      if (end > 0 && end <= MAX_HELLO_BYTES) {
        done({ line: read.subarray(0, end), rest: read.subarray(end) });
      } else if (read.length > MAX_HELLO_BYTES) done(undefined);
    };
    socket.on("data", onData);
    socket.once("close", onClose);
  });
}
