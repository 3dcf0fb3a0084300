import { WebSocket } from "ws";
import { NODE_EXTENSIONS, type NodeConnect } from "#protocol/node.ts";

/** Whose connection it is, by its token. */
export type NodeIdentity =
  /** A device that an owner took in. */
  | { kind: "device"; id: string; tokenHash: string }
  /** A session's own pod. */
  | { kind: "pod"; id: string; session: string; podUid: string };

export type NodeExtension = (typeof NODE_EXTENSIONS)[number];
const MAX_MISSED = 3;

/** One connection of a node that said who it is. */
export class NodeLink {
  readonly identity: NodeIdentity;
  readonly info: NodeConnect;
  readonly connectedAt = Date.now();
  lastSeen = Date.now();
  readonly #socket: WebSocket;
  readonly #extensions: ReadonlySet<string>;
  #missed = 0;

  constructor(socket: WebSocket, identity: NodeIdentity, info: NodeConnect) {
    this.#socket = socket;
    this.identity = identity;
    this.info = info;
    const ours: readonly string[] = NODE_EXTENSIONS;
    this.#extensions = new Set(info.extensions?.filter((name) => ours.includes(name)));
    socket.on("pong", () => this.alive());
  }

  get nodeId(): string {
    return this.identity.id;
  }

  /** Of the node-host's run; undefined: it does not remember calls. */
  get boot(): string | undefined {
    return this.info.boot;
  }

  isSameRunAs({ boot }: NodeLink): boolean {
    return boot !== undefined && boot === this.boot;
  }

  /** `other` was opened before this one, and arrives only now. */
  isNewerThan(other: NodeLink): boolean {
    return this.isSameRunAs(other) && (this.info.connection ?? 0) > (other.info.connection ?? 0);
  }

  get extensions(): string[] {
    return [...this.#extensions];
  }

  can(extension: NodeExtension): boolean {
    return this.#extensions.has(extension);
  }

  /** An empty list says nothing about what it can. */
  runs(command: string): boolean {
    const { commands = [] } = this.info;
    return commands.length === 0 || commands.includes(command);
  }

  send(event: string, payload: unknown): void {
    // A frame that does not leave is answered for by the connection's end.
    this.#socket.send(JSON.stringify({ type: "event", event, payload }), () => undefined);
  }

  alive(): void {
    this.#missed = 0;
    this.lastSeen = Date.now();
  }

  /** Asks for a sign of life, or cuts a node that has given none since the last three. */
  ping(): void {
    if (this.#missed >= MAX_MISSED) return this.#socket.terminate();
    this.#missed += 1;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
  }

  /** A close frame, and the end whether it is answered or not. */
  close(code: number, reason: string): void {
    endSocket(this.#socket, code, reason);
  }
}

const CLOSE_MS = 500;

export function endSocket(socket: WebSocket, code: number, reason: string): void {
  socket.close(code, reason);
  const timer = setTimeout(() => socket.terminate(), CLOSE_MS);
  socket.once("close", () => clearTimeout(timer));
}
