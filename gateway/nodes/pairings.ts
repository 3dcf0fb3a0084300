import { createHmac } from "node:crypto";
import type { PairRequest } from "#protocol/node.ts";
import type { PairingRow } from "#protocol/node-methods.ts";
import { codeFrom } from "../state/access.ts";

/** Devices that show a code, connected or not. */
export const MAX_PAIRINGS = 32;
const PAIRING_TTL_MS = 15 * 60_000;

/** The connection that shows the code. */
export interface PairingPeer {
  /** The owner confirmed it. */
  confirmed(): void;
  refused(reason: string): void;
}

interface Pairing {
  request: PairRequest;
  code: string;
  expiresAt: number;
  peer: PairingPeer | undefined;
}

/**
 * Devices that wait for an owner's word. The code follows from the device's key, so it is the same over reconnects and a restart of
 * the gateway; only what the owner decided is kept.
 */
export class Pairings {
  readonly #secret: string;
  readonly #byCode = new Map<string, Pairing>();

  constructor(secret: string) {
    this.#secret = secret;
  }

  /** A device that proved its key. Undefined: too many wait already. */
  show(
    request: PairRequest,
    peer: PairingPeer,
    now: number,
  ): { code: string; expiresInMs: number } | undefined {
    this.#tidy(now);
    const code = this.#code(request.publicKey);
    const known = this.#byCode.get(code);
    if (!known && !this.#hasRoom()) return undefined;
    const expiresAt = known?.expiresAt ?? now + PAIRING_TTL_MS;
    this.#byCode.set(code, { request, code, expiresAt, peer });
    return { code, expiresInMs: expiresAt - now };
  }

  left(peer: PairingPeer): void {
    for (const pairing of this.#byCode.values()) {
      if (pairing.peer === peer) pairing.peer = undefined;
    }
  }

  find(code: string, now: number): Pairing | undefined {
    this.#tidy(now);
    return this.#byCode.get(code.toUpperCase());
  }

  forget(code: string): void {
    this.#byCode.delete(code);
  }

  rows(now: number): PairingRow[] {
    this.#tidy(now);
    return [...this.#byCode.values()].map(({ code, expiresAt, request }) => ({
      code,
      nodeId: request.nodeId,
      displayName: request.displayName ?? request.nodeId,
      platform: request.platform ?? "",
      expiresAtMs: expiresAt,
    }));
  }

  /** One that went away makes room for one that is there. */
  #hasRoom(): boolean {
    if (this.#byCode.size < MAX_PAIRINGS) return true;
    const [absent] = [...this.#byCode.values()].filter(({ peer }) => peer === undefined);
    return absent !== undefined && this.#byCode.delete(absent.code);
  }

  #tidy(now: number): void {
    for (const { code, expiresAt, peer } of this.#byCode.values()) {
      if (expiresAt > now) continue;
      this.#byCode.delete(code);
      peer?.refused("nobody confirmed the code in time");
    }
  }

  #code(publicKey: string): string {
    return codeFrom(createHmac("sha256", this.#secret).update(`node-pair ${publicKey}`).digest());
  }
}
