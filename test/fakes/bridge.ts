import { createPublicKey, verify } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

export interface FakeBridgeOptions {
  podUid: string;
  podToken: string;
  /** Public keys by id, as the pod sees them now. */
  keys: () => Record<string, string>;
  /** Refuse with this reason instead of checking. */
  refuse?: () => { reason: string; now: number } | undefined;
  /** Called when a peer has been greeted. */
  onPeer: (peer: FakePeer) => void;
}

export interface FakePeer {
  socket: Socket;
  hello: { role: string; after?: number; boot?: string; token: string };
}

/** A bridge that checks the hello with the published key and leaves the rest to the test. */
export class FakeBridge {
  readonly peers: FakePeer[] = [];
  /** Claims of the hellos so far. */
  readonly claims: { aud: string; epoch: number; iat: number; exp: number }[] = [];
  readonly #options: FakeBridgeOptions;
  readonly #server: Server;

  private constructor(options: FakeBridgeOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(options: FakeBridgeOptions): Promise<FakeBridge> {
    const bridge = new FakeBridge(options);
    bridge.#server.listen(0, "127.0.0.1");
    await once(bridge.#server, "listening");
    return bridge;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const { socket } of this.peers) socket.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #serve(socket: Socket): void {
    socket.on("error", () => {});
    let head = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf(10);
      if (end < 0) return;
      socket.off("data", onData).pause();
      socket.unshift(head.subarray(end + 1));
      this.#greet(socket, head.subarray(0, end));
    };
    socket.on("data", onData);
  }

  #greet(socket: Socket, line: Buffer): void {
    const { id, method, params } = JSON.parse(line.toString());
    const refusal = this.#options.refuse?.() ?? this.#check(params.token);
    if (method !== "bridge/hello" || refusal) {
      socket.end(
        `${JSON.stringify({ id, error: { code: -32000, message: "no", data: refusal } })}\n`,
      );
      return;
    }
    const result = {
      boot: "b1",
      seq: 41,
      state: "hot",
      podToken: this.#options.podToken,
      defaults: { cwd: "/w", approvalPolicy: "never", sandbox: "workspace-write" },
      echo: true,
      warning: "no sandbox here",
    };
    const peer = { socket, hello: params };
    this.peers.push(peer);
    socket.write(`${JSON.stringify({ id, result })}\n`);
    this.#options.onPeer(peer);
  }

  #check(token: string): { reason: string; now: number } | undefined {
    const now = Date.now();
    const [header = "", payload = "", signature = ""] = token.split(".");
    const { kid, alg } = JSON.parse(Buffer.from(header, "base64url").toString());
    const pem = this.#options.keys()[kid];
    const signed = Buffer.from(`${header}.${payload}`);
    const valid =
      pem &&
      alg === "EdDSA" &&
      verify(null, signed, createPublicKey(pem), Buffer.from(signature, "base64url"));
    if (!valid) return { reason: "signature", now };
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    this.claims.push(claims);
    return claims.aud === this.#options.podUid ? undefined : { reason: "audience", now };
  }
}
