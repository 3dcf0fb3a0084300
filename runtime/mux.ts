import { isUtf8 } from "node:buffer";
import { monotonicMs } from "#lib/clock.ts";
import { type LineScan, scanLine, stringAt, valueAt } from "#lib/scan.ts";
import type { HelloParams } from "#protocol/bridge.ts";
import { RPC_ERROR, type RpcError } from "#protocol/envelope.ts";
import type { Asks } from "./asks.ts";
import type { Broadcast } from "./broadcast.ts";
import type { Busy } from "./busy.ts";
import type { Flight } from "./flight.ts";
import type { Handshake } from "./handshake.ts";
import type { Inputs } from "./inputs.ts";
import type { Observer } from "./observer.ts";
import type { Peer } from "./peer.ts";
import { errorOf } from "./request.ts";
import type { Requests } from "./requests.ts";
import { errorLine, resultLine } from "./rpc.ts";
import type { Supervisor } from "./supervisor.ts";
import type { Threads } from "./threads.ts";

export interface MuxParts {
  broadcast: Broadcast;
  flight: Flight;
  asks: Asks;
  busy: Busy<Peer>;
  inputs: Inputs;
  threads: Threads;
  handshake: Handshake;
  requests: Requests;
  observer: Observer;
  supervisor: Supervisor;
  /** Answers `bridge/…` requests; undefined = there is no such method. */
  own: (method: string, params: unknown) => Promise<unknown> | undefined;
  signal: AbortSignal;
}

/** Many peers on one app-server: each line is looked at just far enough to know its way. */
export class Mux {
  readonly #parts: MuxParts;
  #garbage = 0;
  #activeAt = monotonicMs();

  constructor(parts: MuxParts) {
    this.#parts = parts;
  }

  /** Lines of the app-server that were no JSON object with an id or a method. */
  get garbage(): number {
    return this.#garbage;
  }

  /** When the app-server and a peer last had to do with each other (on the monotonic clock). */
  get activeAt(): number {
    return this.#activeAt;
  }

  attach(peer: Peer, { after, boot }: HelloParams): void {
    const { broadcast, asks } = this.#parts;
    broadcast.attach(peer, {
      ...(after === undefined ? {} : { after }),
      ...(boot === undefined ? {} : { boot }),
    });
    asks.attach(peer);
  }

  detach(peer: Peer): void {
    const { broadcast, asks, busy, flight, inputs, handshake } = this.#parts;
    broadcast.detach(peer);
    flight.leave(peer);
    inputs.leave(peer);
    handshake.leave(peer);
    busy.leave(peer);
    asks.leave(peer);
  }

  /** A promise means: read nothing more from this peer until it resolves; it never rejects. */
  fromPeer(peer: Peer, line: Buffer): void | Promise<void> {
    if (isBlank(line)) return;
    const scan = isUtf8(line) ? scanLine(line) : undefined;
    const method = scan && stringAt(line, scan.method);
    if (!scan) return this.#complain(peer, RPC_ERROR.parse, "The line is not a JSON object");
    if (method !== undefined) return this.#called(peer, method, line, scan);
    if (!scan.id || scan.method) {
      return this.#complain(peer, RPC_ERROR.invalidRequest, "The line has neither id nor method");
    }
    this.#activeAt = monotonicMs();
    this.#parts.asks.answer(peer, line, scan);
  }

  /** Lines of the app-server, in order; what they bring leaves at once. */
  fromAppServer(lines: readonly Buffer[]): void {
    const { broadcast, threads } = this.#parts;
    for (const line of lines) this.#fromAppServer(threads.toPeers(line));
    broadcast.flush();
  }

  /** Lines that were too long to be read. */
  overflow(count: number): void {
    this.#garbage += count;
  }

  /** The app-server ended: what was open is failed, and everybody is told what will not come any more. */
  ended(reason: string): void {
    const { flight, asks, busy, inputs, threads, broadcast } = this.#parts;
    const message = `${reason}. The request was open then; whether it did anything is not known.`;
    const error: RpcError = { code: RPC_ERROR.server, message, data: { reason: "restarted" } };
    flight.failAll(error);
    inputs.processEnded(error);
    for (const line of asks.reset()) broadcast.add(line, 0);
    broadcast.flush();
    busy.clear();
    threads.reset();
  }

  /** Deadlines of everything that waits; call it once a second. */
  sweep(now: number): void {
    const { flight, asks, inputs } = this.#parts;
    flight.sweep(now);
    asks.sweep(now);
    inputs.sweep(now);
  }

  #called(peer: Peer, method: string, line: Buffer, scan: LineScan): void | Promise<void> {
    if (!scan.id) return this.#notified(peer, method, line);
    const id = Buffer.from(line.subarray(scan.id.start, scan.id.end));
    if (method.startsWith("bridge/"))
      return this.#own({ peer, id }, method, valueAt(line, scan.params));
    this.#activeAt = monotonicMs();
    if (method === "thread/unsubscribe") {
      // All peers share one subscription: forwarded, it would silence the others.
      return this.#parts.broadcast.tell(peer, resultLine(id, { status: "unsubscribed" }));
    }
    if (method === "initialize") return this.#initialize({ peer, id }, valueAt(line, scan.params));
    return this.#parts.requests.handle({ peer, method, line, scan, id });
  }

  /** A notification of a peer. `initialized` is the bridge's own business. */
  #notified(peer: Peer, method: string, line: Buffer): void | Promise<void> {
    if (method === "initialized" || method.startsWith("bridge/")) return;
    const { supervisor, requests, threads } = this.#parts;
    this.#activeAt = monotonicMs();
    const write = () => {
      if (!peer.gone) supervisor.write(...threads.toAppServer(line));
    };
    if (supervisor.hot) return write();
    // There is nobody to tell when the app-server does not come: a notification has no answer.
    return requests.ready(peer).then(write, () => undefined);
  }

  async #initialize(waiter: { peer: Peer; id: Buffer }, params: unknown): Promise<void> {
    const { requests, handshake, signal } = this.#parts;
    try {
      if (!handshake.isCached) await requests.ready(waiter.peer);
      await handshake.fromPeer(waiter, params, signal);
    } catch (error) {
      this.#parts.broadcast.tell(waiter.peer, errorLine(waiter.id, errorOf(error)));
    }
  }

  async #own(
    { peer, id }: { peer: Peer; id: Buffer },
    method: string,
    params: unknown,
  ): Promise<void> {
    const { own, broadcast } = this.#parts;
    try {
      const result = own(method, params);
      if (!result)
        return this.#complain(peer, RPC_ERROR.methodNotFound, `There is no ${method} here`, id);
      broadcast.tell(peer, resultLine(id, await result));
    } catch (error) {
      broadcast.tell(peer, errorLine(id, errorOf(error)));
    }
  }

  #complain(peer: Peer, code: number, message: string, id: Buffer | null = null): void {
    this.#parts.broadcast.tell(peer, errorLine(id, { code, message }));
  }

  #fromAppServer(line: Buffer): void {
    const scan = scanLine(line);
    if (scan?.method) return this.#spoke(line, scan);
    if (scan?.id) this.#parts.flight.answer(line, scan.id);
    else if (scan || !isBlank(line)) this.#garbage += 1;
  }

  #spoke(line: Buffer, scan: LineScan): void {
    const { asks, observer, broadcast } = this.#parts;
    this.#activeAt = monotonicMs();
    if (scan.id) return asks.fromAppServer(line, scan, monotonicMs());
    const method = stringAt(line, scan.method) ?? "";
    if (method === "serverRequest/resolved") {
      const resolved = asks.resolved(line, scan);
      return broadcast.add(resolved, scan.open);
    }
    broadcast.add(line, scan.open);
    observer.see(method, line, scan);
  }
}

function isBlank(line: Buffer): boolean {
  for (const byte of line) {
    if (byte !== 0x0a && byte !== 0x0d && byte !== 0x20 && byte !== 0x09) return false;
  }
  return true;
}
