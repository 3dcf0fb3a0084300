import type { ArgusSession } from "#crds/kinds.ts";
import { textFrame } from "#lib/frames.ts";
import { CLOSE, type SessionParams, type StatusParams } from "#protocol/client.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { EVENT_ENDED } from "#protocol/event-methods.ts";
import { INPUT_ENDED, TURN_PROGRESS } from "#protocol/lane-methods.ts";
import { NODE_APPROVAL } from "#protocol/node-methods.ts";
import { MAIN_THREAD_CHANGED } from "#protocol/session-methods.ts";
import { answerOwn, errorAnswer, type OwnRequest } from "./argus-methods.ts";
import type { Principal } from "./auth.ts";
import type { BridgeSink } from "./bridge-connection.ts";
import type { ClientHandler, ClientSocket } from "./client-socket.ts";
import type { GatewayContext } from "./context.ts";
import type { GreetedBridge } from "./dial.ts";
import { endedRow } from "./event-view.ts";
import { intercept } from "./intercept.ts";
import { LineFramer } from "./line-framer.ts";
import { ClientStreams } from "./nodes/client-streams.ts";
import type { Use } from "./sessions/use.ts";

/** An unfinished line of a bridge may have this many bytes. */
export const MAX_BRIDGE_LINE_BYTES = 64 * 1024 * 1024;
/** Lines that wait for a bridge; over this the client is not read. */
const MAX_HELD_BYTES = 1024 * 1024;
/** Requests to the gateway itself that wait for their answer. */
const MAX_SERVING = 64;
const LOST = "Bridge connection lost: reconnect with session, boot and after";

export interface AttachmentOptions {
  context: GatewayContext;
  principal: Principal;
  session: ArgusSession;
  attached: boolean;
  created: boolean;
}

/**
 * One client on one session: tells it where the session stands, holds its lines until a bridge is there, then passes
 * everything through, each side at the other's pace.
 */
export class Attachment implements ClientHandler, BridgeSink {
  readonly #options: AttachmentOptions;
  #gone: AbortController | undefined = new AbortController();
  #onEnd: (() => void) | undefined;
  readonly #framer = new LineFramer(MAX_BRIDGE_LINE_BYTES);
  #client: ClientSocket | undefined;
  #bridge: GreetedBridge | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #announced = false;
  #lastStatus = "";
  #serving = 0;
  #nodeStreams: ClientStreams | undefined;
  #unwatchNodes: (() => void) | undefined;
  #unwatch: () => void = () => undefined;
  readonly #use: Use;

  constructor(options: AttachmentOptions) {
    this.#options = options;
    this.#use = options.context.keeper.useOf(options.session);
  }

  get sessionName(): string {
    return this.#options.session.metadata.name;
  }

  /** Aborts when the client goes or is closed before it was joined with a bridge. */
  get gone(): AbortSignal {
    return this.#gone?.signal ?? AbortSignal.abort();
  }

  /** Calls `handler` when the client has gone or is being closed, joined or not. */
  whenEnded(handler: () => void): void {
    this.#onEnd = handler;
  }

  bind(client: ClientSocket): void {
    this.#client = client;
    const { context, session } = this.#options;
    const uid = session.metadata.uid ?? "";
    const tell = (method: string, params: unknown) =>
      client.send([textFrame(JSON.stringify({ method, params }))]);
    this.#use.clients += 1;
    const held = this.#use.whenAllowed(() => this.#flush());
    const inputs = context.lanes.watch(uid, {
      onEnded: ({ input }) => input && tell(INPUT_ENDED, input),
      // The session's own frame comes first.
      onProgress: (progress) => this.#announced && tell(TURN_PROGRESS, progress),
      onThread: (threadId) => this.#announced && tell(MAIN_THREAD_CHANGED, { threadId }),
    });
    context.lanes.visited(session).catch((error: unknown) => {
      context.logger.warn({ err: error }, "a client's visit was not recorded");
    });
    const events = context.eventEnds.watch(uid, (ended) => tell(EVENT_ENDED, endedRow(ended)));
    this.#unwatch = () => {
      this.#use.clients -= 1;
      held();
      inputs();
      events();
      this.#unwatch = () => undefined;
    };
  }

  /** Sends `argus/session` without boot and seq, unless it was sent. */
  announce(): void {
    if (!this.#announced) this.#sendSession({ boot: null, seq: null });
  }

  /** Sends `argus/session` if it was not sent, and `argus/status` if it says something new. */
  tell(words: { state: "starting" | "unavailable"; message: string }): void {
    this.announce();
    const key = `${words.state} ${words.message}`;
    if (key === this.#lastStatus) return;
    this.#lastStatus = key;
    this.#sendStatus({ id: this.sessionName, ...words, boot: null, seq: null });
  }

  /** The bridge is there: say so, then let everything flow. */
  join(bridge: GreetedBridge): void {
    const { boot, seq, echo, defaults, warning } = bridge.hello;
    const facts = { boot, seq, echo, defaults, ...(warning === undefined ? {} : { warning }) };
    if (this.#announced) {
      const message = `Session ${this.sessionName} is ready.`;
      this.#sendStatus({ id: this.sessionName, state: "ready", message, ...facts });
    } else this.#sendSession(facts);
    this.#bridge = bridge;
    // Of a joined client only what an idle session needs is kept.
    this.#gone = undefined;
    if (this.#held.length === 0) this.#client?.resume();
    else this.#flush();
    bridge.start(this);
  }

  /** Lines that waited go, once there is a bridge and the session's pod is sure to stay. */
  #flush(): void {
    if (!this.#bridge || this.#held.length === 0 || !this.#use.isAllowed) return;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    if (this.#bridge.write(held)) this.#client?.resume();
  }

  close(code: number, reason: string): void {
    this.#end();
    this.#client?.close(code, reason);
    this.#bridge?.destroy();
  }

  /** The session's pod was deleted: a connection to it is worth nothing, even if it looks open. */
  podGone(): void {
    if (this.#bridge) this.ended();
  }

  // From the client.

  accept(buffer: Buffer, start: number, end: number): boolean {
    const taken = intercept(buffer, start, end);
    if (!taken) return true;
    if ("request" in taken) void this.#serve(taken.request);
    else if (taken.answer) this.#client?.reply(textFrame(taken.answer));
    return false;
  }

  async #serve(request: OwnRequest): Promise<void> {
    const { context, principal, session } = this.#options;
    if (this.#serving >= MAX_SERVING) {
      const message = "Too many argus requests of this client are open: wait for an answer.";
      this.#client?.reply(textFrame(errorAnswer(request.id, RPC_ERROR.busy, message)));
      return;
    }
    this.#serving += 1;
    const answer = await answerOwn(request, {
      context,
      principal,
      session: () => Promise.resolve(session),
      streams: () => this.#streams(),
    });
    this.#serving -= 1;
    this.#client?.reply(textFrame(answer));
  }

  /** Made for the few clients that ask about nodes. */
  #streams(): ClientStreams {
    const { context, session } = this.#options;
    this.#nodeStreams ??= new ClientStreams((frames) => this.#client?.send(frames) ?? true);
    this.#unwatchNodes ??= context.nodes.watchApprovals({
      asked: ({ row, session: { metadata } }) => {
        if (metadata.uid !== session.metadata.uid) return;
        this.#client?.send([textFrame(JSON.stringify({ method: NODE_APPROVAL, params: row }))]);
      },
    });
    return this.#nodeStreams;
  }

  get forwarded(): boolean {
    return this.#held.length === 0 && (this.#bridge?.idle ?? true);
  }

  lines(lines: Buffer[]): boolean {
    const isAllowed = this.#use.claim();
    if (this.#bridge && isAllowed && this.#held.length === 0) return this.#bridge.write(lines);
    for (const line of lines) {
      this.#held.push(line);
      this.#heldBytes += line.length;
    }
    return this.#heldBytes <= MAX_HELD_BYTES;
  }

  closed(): void {
    this.#end();
    this.#bridge?.destroy();
  }

  #end(): void {
    this.#unwatch();
    this.#unwatchNodes?.();
    this.#nodeStreams?.closeAll();
    this.#gone?.abort();
    this.#onEnd?.();
    this.#onEnd = undefined;
  }

  tick(): void {
    const { principal } = this.#options;
    if (principal.kind === "client" && principal.expiresAt <= Date.now()) {
      this.close(CLOSE.policy, "Unauthorized: the token has expired");
    }
  }

  // From the bridge.

  get wantsOwnBuffer(): boolean {
    return this.#framer.inLongLine;
  }

  data(chunk: Buffer, owned: boolean): { kept: boolean; full: boolean } {
    const { frames, kept } = this.#framer.push(chunk, owned);
    const full = frames.length > 0 && this.#client?.send(frames) === false;
    this.#reuseBuffers();
    if (this.#framer.overflowed) {
      this.close(
        CLOSE.tooBig,
        `A line of the session has more than ${MAX_BRIDGE_LINE_BYTES} bytes`,
      );
      return { kept, full: true };
    }
    return { kept, full };
  }

  /** The client's socket drained: read the bridge again. */
  drained(): void {
    this.#reuseBuffers();
    this.#nodeStreams?.drained();
    this.#bridge?.resume();
  }

  /** The bridge's socket drained: read the client again. */
  writable(): void {
    this.#client?.resume();
  }

  ended(): void {
    this.close(CLOSE.serviceRestart, LOST);
  }

  /** Only once nothing waits: what waits may be any part of what was sent. */
  #reuseBuffers(): void {
    if (this.#client?.idle) this.#framer.sent();
  }

  #sendSession(facts: Pick<SessionParams, "boot" | "seq" | "echo" | "defaults" | "warning">): void {
    this.#announced = true;
    const { attached, created } = this.#options;
    const params: SessionParams = {
      id: this.sessionName,
      mode: "kubernetes",
      attached,
      created,
      ...facts,
    };
    this.#client?.send([textFrame(JSON.stringify({ method: "argus/session", params }))]);
  }

  #sendStatus(params: StatusParams): void {
    this.#client?.send([textFrame(JSON.stringify({ method: "argus/status", params }))]);
  }
}
