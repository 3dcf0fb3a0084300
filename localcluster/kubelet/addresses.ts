import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { ArgusError } from "#lib/errors.ts";

/** Gives each pod a loopback address of its own, on Linux; elsewhere all pods share 127.0.0.1. */
export class AddressPool {
  readonly #first: number;
  readonly #size: number;
  readonly #taken = new Map<string, string>();
  #next: number;

  /** `cidr`: e.g. `127.77.0.0/16`. `seed`: two installations with different seeds begin at different places. */
  constructor(cidr: string, seed: string) {
    const [base = "", bits = ""] = cidr.split("/");
    const parts = base.split(".").map(Number);
    const valid = parts.length === 4 && parts[0] === 127 && Number(bits) >= 8 && Number(bits) <= 30;
    if (!valid || parts.some((part) => !(part >= 0 && part <= 255))) {
      throw new ArgusError("InvalidInput", `not a range of loopback addresses: ${cidr}`, { cidr });
    }
    this.#first = parts.reduce((sum, part) => sum * 256 + part, 0) + 1;
    this.#size = 2 ** (32 - Number(bits)) - 2;
    this.#next = createHash("sha256").update(seed).digest().readUInt32BE() % this.#size;
  }

  /** Keeps `address`, which the pod has from an earlier start. False when another pod has it or it is not ours. */
  reserve(podUid: string, address: string): boolean {
    const number = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
    const ours = number >= this.#first && number < this.#first + this.#size;
    if (!ours || (this.#taken.get(address) ?? podUid) !== podUid) return false;
    this.#taken.set(address, podUid);
    return true;
  }

  /** A free address where nobody listens on any of `ports`. Throws Unavailable when there is none. */
  async allocate(podUid: string, ports: readonly number[]): Promise<string> {
    if (process.platform !== "linux") return "127.0.0.1";
    for (let tries = 0; tries < this.#size; tries += 1) {
      const address = dotted(this.#first + this.#next);
      this.#next = (this.#next + 1) % this.#size;
      if (this.#taken.has(address)) continue;
      this.#taken.set(address, podUid);
      if (await allFree(address, ports)) return address;
      this.#taken.delete(address);
    }
    throw new ArgusError("Unavailable", "no free pod address is left", { size: this.#size });
  }

  release(podUid: string): void {
    for (const [address, owner] of this.#taken) if (owner === podUid) this.#taken.delete(address);
  }
}

const dotted = (number: number) =>
  [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");

async function allFree(host: string, ports: readonly number[]): Promise<boolean> {
  for (const port of ports) {
    const server = createServer();
    try {
      const listening = once(server, "listening");
      server.listen({ host, port, exclusive: true });
      await listening;
    } catch {
      return false;
    } finally {
      server.close();
    }
  }
  return true;
}
