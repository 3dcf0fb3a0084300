import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { CLOSE } from "#protocol/client.ts";
import { NodeConnect, NodeEvent, type PairRequest } from "#protocol/node.ts";
import { type Authenticator, requestToken } from "../auth.ts";
import { endUpgrade } from "../upgrade.ts";
import { endSocket, type NodeIdentity, NodeLink } from "./link.ts";
import { PairPeer } from "./pair-peer.ts";
import type { Pairings } from "./pairings.ts";

export const NODES_PATH = "/nodes/ws";
/** Answers of both outputs at their bound, each byte escaped. */
const MAX_NODE_FRAME_BYTES = 32 * 1024 * 1024;
const MAX_STRANGER_FRAME_BYTES = 16 * 1024;
/** Connections without a valid token. */
const MAX_STRANGERS = 64;
/** Connections of nodes. */
const MAX_NODES = 5000;
const FIRST_FRAME_MS = 10_000;

export interface DoorOptions {
  auth: Authenticator;
  pairings: Pairings;
  logger: Logger;
  /** The device that owns the token of this SHA-256. */
  deviceOf: (tokenHash: string) => { id: string } | undefined;
  giveToken: (request: PairRequest) => Promise<string | undefined>;
  connected: (link: NodeLink) => void;
  event: (link: NodeLink, event: NodeEvent) => void;
  binary: (link: NodeLink, frame: Buffer) => void;
  disconnected: (link: NodeLink) => void;
}

/** Where nodes come in: says by the token who it is, before anything is read; strangers may only pair. */
export class NodeDoor {
  readonly #options: DoorOptions;
  readonly #known = server(MAX_NODE_FRAME_BYTES);
  readonly #unknown = server(MAX_STRANGER_FRAME_BYTES);
  #strangers = 0;
  #nodes = 0;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  async upgrade(request: IncomingMessage, { socket, head }: { socket: Socket; head: Buffer }) {
    const onError = () => undefined;
    socket.on("error", onError);
    const identity = await this.#identify(request).catch((error: unknown) => {
      this.#options.logger.warn({ error: errorMessage(error) }, "a node cannot be identified now");
      return "later" as const;
    });
    if (identity === "later" || this.#isFull(identity)) {
      return endUpgrade(socket, "503 Service Unavailable\r\nRetry-After: 5");
    }
    const isNode = typeof identity === "object";
    const accepting = isNode ? this.#known : this.#unknown;
    accepting.handleUpgrade(request, socket, head, (ws) => {
      socket.off("error", onError);
      ws.on("error", () => undefined);
      if (isNode) this.#node(ws, identity);
      else if (identity === "stranger") this.#stranger(ws);
      else endSocket(ws, CLOSE.policy, "Unauthorized");
    });
  }

  /** Closes every connection, whoever it is. */
  close(code: number, reason: string): void {
    for (const ws of [...this.#known.clients, ...this.#unknown.clients])
      endSocket(ws, code, reason);
  }

  #isFull(identity: NodeIdentity | string): boolean {
    return typeof identity === "object"
      ? this.#nodes >= MAX_NODES
      : this.#strangers >= MAX_STRANGERS;
  }

  /** `stranger`: without a token; `wrong`: one that opens nothing here, such as a person's. */
  async #identify(request: IncomingMessage): Promise<NodeIdentity | "stranger" | "wrong"> {
    const { searchParams } = new URL(request.url ?? "/", "http://gateway");
    const token = requestToken(request.headers, searchParams);
    if (!token) return "stranger";
    const tokenHash = sha256(token);
    const device = this.#options.deviceOf(tokenHash);
    if (device) return { kind: "device", id: device.id, tokenHash };
    const credential = await this.#options.auth.pod(token);
    if (credential.state !== "valid" || credential.principal.kind !== "pod") return "wrong";
    const { session, podUid } = credential.principal;
    return { kind: "pod", id: `runtime:${session}`, session, podUid };
  }

  #stranger(ws: WebSocket): void {
    this.#strangers += 1;
    ws.once("close", () => {
      this.#strangers -= 1;
    });
    const { pairings, giveToken, logger } = this.#options;
    const onError = (error: unknown) => {
      logger.warn({ error: errorMessage(error) }, "a device could not be paired");
      endSocket(ws, CLOSE.tryAgainLater, "The gateway could not do that now");
    };
    const peer = new PairPeer(ws, { pairings, giveToken, onError });
    const timer = this.#expect(ws);
    ws.on("message", (data: Buffer) => {
      clearTimeout(timer);
      peer.take(json(data));
    });
  }

  #node(ws: WebSocket, identity: NodeIdentity): void {
    this.#nodes += 1;
    let link: NodeLink | undefined;
    const timer = this.#expect(ws);
    ws.once("close", () => {
      this.#nodes -= 1;
      if (link) this.#options.disconnected(link);
    });
    ws.on("message", (data: Buffer, isBinary: boolean) => {
      clearTimeout(timer);
      if (link) this.#take(link, data, isBinary);
      else link = this.#connect(ws, identity, json(data));
    });
  }

  #connect(ws: WebSocket, identity: NodeIdentity, frame: unknown): NodeLink | undefined {
    const { data: info, error } = NodeConnect.safeParse(frame);
    const problem = error?.issues[0];
    if (!info) {
      const reason = `The first frame must be connect: ${problem?.path.join(".")} ${problem?.message}`;
      endSocket(ws, CLOSE.policy, reason.slice(0, 120));
    } else if (info.nodeId !== identity.id) {
      endSocket(ws, CLOSE.policy, `This token is ${identity.id}'s`.slice(0, 120));
    } else {
      const link = new NodeLink(ws, identity, info);
      this.#options.connected(link);
      return link;
    }
    return undefined;
  }

  #take(link: NodeLink, data: Buffer, isBinary: boolean): void {
    link.alive();
    if (isBinary) return this.#options.binary(link, data);
    const { data: event } = NodeEvent.safeParse(json(data));
    if (event) this.#options.event(link, event);
  }

  #expect(ws: WebSocket): NodeJS.Timeout {
    const timer = setTimeout(
      () => endSocket(ws, CLOSE.policy, "No first frame in time"),
      FIRST_FRAME_MS,
    );
    ws.once("close", () => clearTimeout(timer));
    return timer;
  }
}

const server = (maxPayload: number) =>
  new WebSocketServer({
    noServer: true,
    maxPayload,
    perMessageDeflate: false,
    clientTracking: true,
  });

export const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

function json(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString("utf8"));
  } catch {
    return undefined;
  }
}
