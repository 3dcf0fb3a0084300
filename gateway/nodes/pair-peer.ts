import { createPublicKey, randomBytes, verify } from "node:crypto";
import type { WebSocket } from "ws";
import { CLOSE } from "#protocol/client.ts";
import { NodeEvent, PairProof, PairRequest, pairingProof } from "#protocol/node.ts";
import { endSocket } from "./link.ts";
import type { PairingPeer, Pairings } from "./pairings.ts";

export interface PairOptions {
  pairings: Pairings;
  /** A new token when the device is confirmed and has not used one yet. */
  giveToken: (request: PairRequest) => Promise<string | undefined>;
  onError: (error: unknown) => void;
}

/** A connection without a token: it may prove its key and show a code, nothing else. */
export class PairPeer implements PairingPeer {
  readonly #socket: WebSocket;
  readonly #options: PairOptions;
  readonly #nonce = randomBytes(24).toString("base64url");
  #request: PairRequest | undefined;
  #proved = false;

  constructor(socket: WebSocket, options: PairOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("close", () => options.pairings.left(this));
  }

  /** A frame of the stranger. */
  take(frame: unknown): void {
    if (!this.#request) return this.#begin(frame);
    const { data: event } = NodeEvent.safeParse(frame);
    if (event?.event !== "pair.proof" || this.#proved) return;
    const { data: proof } = PairProof.safeParse(event.payload);
    if (!proof || !isProved(this.#request, this.#nonce, proof.signature)) {
      return this.#close("The proof of the device's key is wrong");
    }
    this.#proved = true;
    this.#show(this.#request).catch(this.#options.onError);
  }

  #begin(frame: unknown): void {
    const { data: request } = PairRequest.safeParse(frame);
    if (!request) return this.#close("Unauthorized: pair this device first");
    this.#request = request;
    this.#event("pair.challenge", { nonce: this.#nonce });
  }

  async #show(request: PairRequest): Promise<void> {
    if (await this.#give(request)) return;
    if (request.nodeId.startsWith("runtime:")) return this.refused("that name is a session's");
    const shown = this.#options.pairings.show(request, this, Date.now());
    if (shown) this.#event("pair.pending", shown);
    else this.#close("Too many devices wait for a confirmation: try again later");
  }

  confirmed(): void {
    if (this.#request) this.#give(this.#request).catch(this.#options.onError);
  }

  async #give(request: PairRequest): Promise<boolean> {
    const token = await this.#options.giveToken(request);
    if (token === undefined) return false;
    this.#event("pair.confirmed", { nodeId: request.nodeId, token });
    return true;
  }

  refused(reason: string): void {
    this.#event("pair.refused", { reason });
    this.#close("refused");
  }

  #event(event: string, payload: object): void {
    this.#socket.send(JSON.stringify({ type: "event", event, payload }), () => undefined);
  }

  #close(reason: string): void {
    endSocket(this.#socket, CLOSE.policy, reason);
  }
}

function isProved({ publicKey }: PairRequest, nonce: string, signature: string): boolean {
  try {
    const key = createPublicKey({
      key: { kty: "OKP", crv: "Ed25519", x: publicKey },
      format: "jwk",
    });
    const proof = Buffer.from(signature, "base64url");
    return verify(null, Buffer.from(pairingProof(nonce)), key, proof);
  } catch {
    return false;
  }
}
