import { monotonicMs } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import { scanLine } from "#lib/scan.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import type { Asks } from "./asks.ts";
import { type Busy, STARTING_METHODS } from "./busy.ts";
import type { Choice } from "./choices.ts";
import type { Flight } from "./flight.ts";
import type { Inputs } from "./inputs.ts";
import { LEDGERED, SPECIAL, UNLOADED_OK } from "./methods.ts";
import type { Peer } from "./peer.ts";
import type { Policy } from "./policy.ts";
import {
  busyError,
  type Effects,
  ENDED,
  errorOf,
  inputOf,
  isError,
  paramsOf,
  type Request,
  threadIdIn,
  threadOf,
  unsettled,
} from "./request.ts";
import { errorLine, RpcFailure } from "./rpc.ts";
import type { Supervisor } from "./supervisor.ts";
import type { Threads } from "./threads.ts";
import type { ToolServers } from "./tool-servers.ts";
import { turnEffects } from "./turn-effects.ts";

/** A peer's request waits this long for the app-server: less than the 120 s after which clients give up. */
export const HOLD_MS = 100_000;
/** Started anew while we prepared the request: tried again this often. */
const ATTEMPTS = 3;

export interface RequestsOptions {
  supervisor: Supervisor;
  flight: Flight;
  busy: Busy<Peer>;
  inputs: Inputs;
  policy: Policy;
  threads: Threads;
  toolServers: ToolServers;
  asks: Asks;
  tell: (peer: Peer, ...pieces: Buffer[]) => void;
  /** Why no turn may start now; undefined = it may. */
  noNewTurns: () => { reason: string; message: string } | undefined;
  /** Why there is no app-server, in words. */
  why: () => string;
  signal: AbortSignal;
}

/** A peer's requests to the app-server: whether they may go, what must happen before, what their answers change. */
export class Requests {
  readonly #options: RequestsOptions;
  /** Since when a peer's lines wait for the app-server. */
  readonly #heldSince = new WeakMap<Peer, number>();

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** Forwards or answers. A promise means: read nothing more from this peer until it resolves; it never rejects. */
  handle(request: Request): void | Promise<void> {
    const { supervisor, threads } = this.#options;
    const { method } = request;
    if (!supervisor.hot || SPECIAL.has(method)) return this.#prepare(request);
    const threadId = threadOf(request);
    if (threadId !== undefined && !threads.isLoaded(threadId)) {
      if (!UNLOADED_OK.has(method) || threads.isNew(threadId)) return this.#prepare(request);
    }
    this.#forward(request, {});
    return supervisor.full ? supervisor.drained() : undefined;
  }

  /** The app-server, started if it is parked. Throws RpcFailure when it does not come in time. */
  async ready(peer: Peer): Promise<void> {
    const { supervisor, signal, why } = this.#options;
    const held = this.#heldSince.get(peer) ?? 0;
    // A hold that was given up before the app-server ran again is over.
    const since = held > supervisor.hotAt ? held : monotonicMs();
    this.#heldSince.set(peer, since);
    try {
      await supervisor.ready(since + HOLD_MS, signal);
    } catch (error) {
      const message = `${errorMessage(error)}. ${why()} Nothing was started; try again later.`;
      throw new RpcFailure({ code: RPC_ERROR.server, message, data: { reason: "unavailable" } });
    }
    this.#heldSince.delete(peer);
  }

  async #prepare(request: Request): Promise<void> {
    let isNew = true;
    try {
      const threadId = threadOf(request);
      isNew = this.#isNew(request);
      if (isNew) this.#refuseNewTurns(request);
      else if (threadId !== undefined && this.#isSettled(request, threadId)) return;
      await this.#usable(request, threadId);
      if (request.peer.gone) return;
      await this.#dispatch(request, threadId);
    } catch (error) {
      const refusal = isNew ? errorOf(error) : unsettled(error);
      this.#options.tell(request.peer, errorLine(request.id, refusal));
    }
  }

  #refuseNewTurns({ method }: Request): void {
    const refusal = STARTING_METHODS.has(method) ? this.#options.noNewTurns() : undefined;
    if (!refusal) return;
    const { reason, message } = refusal;
    throw new RpcFailure({ code: RPC_ERROR.busy, message, data: { reason } });
  }

  /** False for an input that the ledger knows: about that one the ledger decides, whatever stands against new turns. */
  #isNew(request: Request): boolean {
    const input = LEDGERED.has(request.method) ? inputOf(request) : undefined;
    return input === undefined || !this.#options.inputs.knows(input);
  }

  /** Answers a repeat whose outcome no process can change any more, without one. */
  #isSettled(request: Request, threadId: string): boolean {
    const { inputs } = this.#options;
    const input = inputOf(request);
    if (input === undefined || !inputs.isSettled(input)) return false;
    return this.#isRepeat(request, input, threadId);
  }

  /** Whether the ledger answered. Throws its refusal. */
  #isRepeat(request: Request, input: string, threadId: string): boolean {
    const repeat = this.#options.inputs.repeat(request, input, threadId);
    if (repeat.kind === "refused") throw new RpcFailure(repeat.error);
    return repeat.kind === "answered";
  }

  /** The app-server runs and has loaded the thread, if it must, with its tools, if a turn starts. */
  async #usable({ peer, method }: Request, threadId: string | undefined): Promise<void> {
    const { supervisor, threads, toolServers } = this.#options;
    const deadline = monotonicMs() + HOLD_MS;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      await this.ready(peer);
      const needed =
        threadId !== undefined && (!UNLOADED_OK.has(method) || threads.isNew(threadId));
      if (needed) await threads.ensure(threadId);
      if (needed && STARTING_METHODS.has(method)) await toolServers.settled(threadId, deadline);
      if (supervisor.hot && (!needed || threads.isLoaded(threadId))) return;
    }
    throw new RpcFailure(ENDED);
  }

  async #dispatch(request: Request, threadId: string | undefined): Promise<void> {
    const { method } = request;
    if (method === "thread/start") return this.#threadStart(request);
    if (method === "thread/resume" && threadId !== undefined)
      return this.#threadResume(request, threadId);
    if (method === "thread/fork")
      return this.#forward(request, { answered: (line) => this.#forked(request, line) });
    if (LEDGERED.has(method) && threadId !== undefined) return this.#withInput(request, threadId);
    if (STARTING_METHODS.has(method) && threadId !== undefined) {
      this.#claim(request, threadId);
      return this.#forward(request, turnEffects(this.#options, { threadId, claimed: true }));
    }
    this.#forward(request, {});
  }

  #threadStart(request: Request): void {
    const { policy, threads, tell } = this.#options;
    const named = policy.named(request.line, request.scan);
    const filled = this.#filled(request);
    const params = paramsOf(filled);
    const answered = (line: Buffer) => {
      const threadId = threadIdIn(line);
      if (threadId === undefined) return true;
      const chosen = this.#remember(request, threadId, named);
      const recorded = Promise.allSettled([chosen, threads.started(threadId, params)]);
      void recorded.then(() => tell(request.peer, line));
      return false;
    };
    this.#forward(filled, { answered });
  }

  #threadResume(request: Request, threadId: string): void {
    const { policy, threads, asks, tell } = this.#options;
    const named = policy.named(request.line, request.scan);
    // A loaded thread has its policy; a resume would only be refused to change it.
    const ready = threads.isLoaded(threadId) ? request : this.#filled(request, threadId);
    const answered = (line: Buffer) => {
      if (isError(line)) return true;
      const chosen = this.#remember(request, threadId, named);
      // A failed settlement is tried again by the next request that names the thread.
      const settled = Promise.allSettled([chosen, threads.resumed(threadId)]);
      void settled.then(() => {
        tell(request.peer, line);
        asks.resumed(request.peer, threadId);
      });
      return false;
    };
    this.#forward(ready, { answered });
  }

  #forked(request: Request, line: Buffer): boolean {
    const { policy, threads, tell } = this.#options;
    const threadId = threadIdIn(line);
    if (threadId === undefined) return true;
    threads.forked(threadId);
    const inherited = policy.inherit(threadOf(request) ?? "", threadId);
    const chosen = this.#remember(request, threadId, policy.named(request.line, request.scan));
    void Promise.allSettled([inherited, chosen]).then(() => tell(request.peer, line));
    return false;
  }

  /** A lane's turns are the session's own: they choose nothing for a thread. */
  async #remember({ peer }: Request, threadId: string, named: Choice): Promise<void> {
    if (peer.role === "client") await this.#options.policy.remember(threadId, named);
  }

  /** The ledger is asked first; a new input is on the disk before it is forwarded. */
  async #withInput(request: Request, threadId: string): Promise<void> {
    const { inputs, busy, supervisor } = this.#options;
    const life = supervisor.restarts;
    const input = inputOf(request);
    if (input !== undefined && this.#isRepeat(request, input, threadId)) return;
    this.#refuseNewTurns(request);
    const claimed = this.#claim(request, threadId);
    const filled = request.method === "turn/start" ? this.#filled(request, threadId) : request;
    try {
      const opened = input !== undefined && inputs.open(input, threadId, request.method);
      await Promise.all([this.#chosen(request, threadId), opened]);
      this.#stillThere(request, threadId, life);
    } catch (error) {
      // Of an earlier life claim and entry are settled: they may be somebody else's by now.
      if (supervisor.restarts === life) {
        if (claimed) busy.rejected(threadId);
        if (input !== undefined) inputs.neverStarted(input, errorOf(error));
      }
      if (request.peer.gone) return;
      throw error;
    }
    const named = input === undefined ? {} : { input };
    this.#forward(filled, turnEffects(this.#options, { threadId, claimed, ...named }));
  }

  /** Only a turn/start chooses for its thread. */
  async #chosen(request: Request, threadId: string): Promise<void> {
    if (request.method !== "turn/start") return;
    const named = this.#options.policy.named(request.line, request.scan);
    await this.#remember(request, threadId, named);
  }

  /** While the input was recorded, the peer may have been fenced off or the app-server may have ended. */
  #stillThere(request: Request, threadId: string, life: number): void {
    const { supervisor, threads } = this.#options;
    if (request.peer.gone || supervisor.restarts !== life) throw new RpcFailure(ENDED);
    this.#refuseNewTurns(request);
    if (!supervisor.hot || !threads.isLoaded(threadId)) throw new RpcFailure(ENDED);
  }

  /** The thread is this peer's now: true; a steer claims nothing, but only the turn's owner may send it. */
  #claim({ peer, method }: Request, threadId: string): boolean {
    const { busy } = this.#options;
    const now = monotonicMs();
    if (method === "turn/steer") {
      if (busy.isForeign(threadId, peer, now)) throw new RpcFailure(busyError({ threadId }));
      return false;
    }
    const refusal = busy.refuse(threadId, { peer, role: peer.role }, now);
    if (refusal) throw new RpcFailure(busyError(refusal));
    busy.start(threadId, peer);
    return true;
  }

  #filled(request: Request, threadId?: string): Request {
    const { method, peer, line, scan } = request;
    const sender = { method, role: peer.role, ...(threadId === undefined ? {} : { threadId }) };
    const filled = this.#options.policy.fill(line, scan, sender);
    if (filled === line) return request;
    return { ...request, line: filled, scan: scanLine(filled) ?? scan };
  }

  #forward(request: Request, effects: Effects): void {
    const { flight, tell } = this.#options;
    const { peer, method, line, scan, id } = request;
    if (!scan.id) return;
    flight.send({
      method,
      peer,
      line,
      at: scan.id,
      answered: (answer) => {
        if (effects.answered?.(answer) ?? true) tell(peer, answer);
      },
      ...(effects.answered ? {} : { passOn: (pieces: Buffer[]) => tell(peer, ...pieces) }),
      failed: (error, forwarded) => {
        effects.failed?.(error, forwarded);
        tell(peer, errorLine(id, error));
      },
    });
  }
}
