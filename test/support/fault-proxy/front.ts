import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** One TCP connection of a client, joined with one to the TLS server behind. */
interface Joint {
  number: number;
  client: Socket;
  inner: Socket;
  frozen: boolean;
}

export type Cut = "reset" | "end";

/**
 * The TCP side of the proxy: counts connections and breaks them. It stands before TLS and HTTP/2, because a half-open
 * connection must not even answer a ping.
 */
export class Front {
  /** Accepted so far, open now, most at once. */
  readonly connections = { total: 0, open: 0, most: 0 };
  readonly #joints = new Set<Joint>();
  readonly #byInnerPort = new Map<number, Joint>();
  readonly #innerPort: number;
  #server: Server | undefined;
  #port = 0;
  /** New connections hear nothing either. */
  #frozen = false;

  constructor(innerPort: number) {
    this.#innerPort = innerPort;
  }

  get port(): number {
    return this.#port;
  }

  /** Listens, after a refusal on the same port again. */
  async listen(): Promise<void> {
    if (this.#server) return;
    const server = createServer({ pauseOnConnect: true }, (client) => this.#join(client));
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Whoever connects is refused; what is connected stays. */
  refuse(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  /** Which connection the TLS server's peer port belongs to. */
  numberOf(innerPort: number | undefined): number {
    return this.#byInnerPort.get(innerPort ?? 0)?.number ?? 0;
  }

  /** Breaks one connection, or all. */
  cut(how: Cut, number?: number): void {
    for (const joint of this.#chosen(number)) {
      if (how === "reset") joint.client.resetAndDestroy();
      else joint.client.end();
      joint.inner.destroy();
    }
  }

  /** Lets nothing through any more, in neither direction, and tells nobody. Without a number: all, and those to come. */
  freeze(number?: number): void {
    if (number === undefined) this.#frozen = true;
    for (const joint of this.#chosen(number)) {
      joint.frozen = true;
      joint.client.pause();
      joint.inner.pause();
    }
  }

  /** What was frozen is broken, what comes is let through. */
  heal(): void {
    this.#frozen = false;
    for (const joint of this.#joints) if (joint.frozen) this.cut("reset", joint.number);
  }

  async close(): Promise<void> {
    this.refuse();
    this.cut("reset");
  }

  #chosen(number: number | undefined): Joint[] {
    return [...this.#joints].filter((joint) => number === undefined || joint.number === number);
  }

  #join(client: Socket): void {
    const { connections } = this;
    connections.total += 1;
    connections.open += 1;
    connections.most = Math.max(connections.most, connections.open);
    const inner = connect(this.#innerPort, "127.0.0.1");
    const joint = { number: connections.total, client, inner, frozen: this.#frozen };
    this.#joints.add(joint);
    inner.once("connect", () => {
      this.#byInnerPort.set(inner.localPort ?? 0, joint);
      if (!joint.frozen) client.resume();
    });
    for (const socket of [client, inner]) socket.setNoDelay(true).on("error", () => undefined);
    carry(joint, client, inner);
    carry(joint, inner, client);
    client.once("close", () => {
      connections.open -= 1;
      this.#joints.delete(joint);
      this.#byInnerPort.delete(inner.localPort ?? 0);
      inner.destroy();
    });
  }
}

function carry(joint: Joint, from: Socket, to: Socket): void {
  from.on("data", (chunk: Buffer) => {
    if (joint.frozen || to.destroyed) return;
    if (to.write(chunk)) return;
    from.pause();
    to.once("drain", () => {
      if (!joint.frozen) from.resume();
    });
  });
  from.once("end", () => {
    if (!joint.frozen) to.end();
  });
  from.once("close", () => {
    if (!joint.frozen) to.destroy();
  });
}
