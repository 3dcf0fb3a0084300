import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import packageJson from "#package" with { type: "json" };
import type { RpcError } from "#protocol/envelope.ts";
import type { RuntimeSpec } from "#protocol/pod.ts";
import type { Caller } from "./caller.ts";
import type { Peer } from "./peer.ts";
import { errorLine, notificationLine, RpcFailure, resultLine } from "./rpc.ts";

const TIMEOUT_MS = 30_000;
const MAX_WAITERS = 256;
/** Experimental for the background terminals; no opt-outs: one would silence all peers. */
const OWN_PARAMS = {
  clientInfo: { name: "argus_bridge", title: "Argus bridge", version: packageJson.version },
  capabilities: { experimentalApi: true, requestAttestation: false },
};
const Params = z.record(z.string(), z.unknown());

interface Waiter {
  peer: Peer;
  id: Buffer;
}

export interface HandshakeOptions {
  protocol: RuntimeSpec["protocol"];
  caller: Caller;
  write: (line: Buffer) => void;
  tell: (peer: Peer, line: Buffer) => void;
}

/**
 * Initializes each process once and answers all peers from its result. Codex is initialized by the bridge; of another
 * protocol the bridge does not know the parameters, so the first peer's are used, then and after each restart.
 */
export class Handshake {
  readonly #options: HandshakeOptions;
  #params: Record<string, unknown> | undefined;
  #result: unknown;
  #pending = false;
  #waiters: Waiter[] = [];

  constructor(options: HandshakeOptions) {
    this.#options = options;
    if (options.protocol === "codex") this.#params = OWN_PARAMS;
  }

  /** A peer's `initialize` can be answered without the app-server. */
  get isCached(): boolean {
    return this.#result !== undefined && !this.#pending;
  }

  /** A fresh process. Throws what `initialize` failed with; those who wait for it are told. */
  async start(signal: AbortSignal): Promise<void> {
    if (!this.#params) return;
    await this.#initialize(this.#params, signal);
  }

  /** A peer's `initialize`. */
  async fromPeer(waiter: Waiter, params: unknown, signal: AbortSignal): Promise<void> {
    if (this.isCached) return this.#answer(waiter);
    if (this.#waiters.length >= MAX_WAITERS)
      throw new ArgusError("Busy", "too many peers wait for initialize");
    this.#waiters.push(waiter);
    if (this.#pending) return;
    const own = Params.safeParse(params);
    this.#params ??= own.success ? own.data : {};
    // Its failure has been told to the waiters.
    await this.#initialize(this.#params, signal).catch(() => undefined);
    if (this.#result === undefined && this.#options.protocol !== "codex") this.#params = undefined;
  }

  leave(peer: Peer): void {
    this.#waiters = this.#waiters.filter((waiter) => waiter.peer !== peer);
  }

  async #initialize(params: Record<string, unknown>, signal: AbortSignal): Promise<void> {
    const { caller, write } = this.#options;
    this.#pending = true;
    try {
      this.#result = await caller.call("initialize", params, { timeoutMs: TIMEOUT_MS, signal });
      write(notificationLine("initialized"));
      for (const waiter of this.#waiters) this.#answer(waiter);
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      this.#pending = false;
      this.#waiters = [];
    }
  }

  #answer({ peer, id }: Waiter): void {
    this.#options.tell(peer, resultLine(id, this.#result ?? {}));
  }

  #fail(reason: unknown): void {
    const error: RpcError =
      reason instanceof RpcFailure ? reason.error : { code: -32000, message: String(reason) };
    for (const { peer, id } of this.#waiters) this.#options.tell(peer, errorLine(id, error));
  }
}
