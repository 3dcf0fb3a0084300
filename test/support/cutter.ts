import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy that cuts each connection after some bytes in one direction, whatever they belong to. */
export class Cutter {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  cuts = 0;
  port = 0;

  /** `room` says after how many bytes the next connection is cut; Infinity = never. */
  static async start(target: number, room: () => number): Promise<Cutter> {
    const cutter = new Cutter(target, room);
    cutter.#server.listen(0, "127.0.0.1");
    await once(cutter.#server, "listening");
    cutter.port = (cutter.#server.address() as AddressInfo).port;
    return cutter;
  }

  private constructor(target: number, room: () => number) {
    this.#server = createServer((near) => {
      const far = connect(target, "127.0.0.1");
      let left = room();
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#open.add(from);
        from.on("error", () => undefined);
        from.on("close", () => {
          this.#open.delete(from);
          to.destroy();
        });
        from.on("data", (chunk) => {
          if (left <= 0) return;
          to.write(chunk.subarray(0, left));
          left -= chunk.length;
          if (left > 0) return;
          this.cuts += 1;
          // What was written leaves first: the cut is at exactly this byte.
          to.end();
          from.destroy();
        });
      }
    });
  }

  /** Cuts what is open now. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}
