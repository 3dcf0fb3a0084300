import { monotonicMs } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import { textFrame } from "#lib/frames.ts";
import { CHANNEL, MAX_HELD, SUPERSEDED } from "#protocol/channel.ts";
import { CLOSE } from "#protocol/client.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import type { ClientHandler, ClientSocket } from "../client-socket.ts";
import type { GatewayContext } from "../context.ts";
import type { Claimant } from "../state/outbox.ts";
import { answerTo, type Request, readFrame } from "./adapter-frames.ts";
import { METHODS } from "./adapter-methods.ts";
import type { Channels } from "./channels.ts";
import { claimNext } from "./claims.ts";

/** Time for the first frame. */
const HELLO_DEADLINE_MS = 10_000;
/** Requests of one adapter that wait, `delivery/next` included. */
const MAX_SERVING = 256;
/** An adapter that takes nothing for so long is cut off; it comes back with its epoch. */
const SLOW_MS = 20_000;
const MAX_FRAME_BYTES = 1024 * 1024;

/** One connection of a channel's adapter, from its hello to its end. */
export class AdapterConnection implements ClientHandler {
  readonly channels: Channels;
  readonly context: GatewayContext;
  readonly forwarded = true;
  /** Delivery id → the session object's UID and the chat. */
  readonly held = new Map<string, { uid: string; chatKey: string }>();
  #client: ClientSocket | undefined;
  #by: Claimant | undefined;
  #channel = "";
  #asks = false;
  /** Ids of `delivery/next` requests that wait. */
  #waiting: unknown[] = [];
  #claiming = 0;
  #serving = 0;
  #fullSince: number | undefined;
  #isOver = false;
  readonly #since = monotonicMs();
  readonly #leave: (() => void) | undefined;

  constructor(context: GatewayContext) {
    this.context = context;
    this.channels = context.channels;
    this.#leave = this.channels.add(this);
  }

  /** Empty before the hello. */
  get channel(): string {
    return this.#channel;
  }

  /** It shows questions to people. */
  get asks(): boolean {
    return this.#asks;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get by(): Claimant | undefined {
    return this.#by;
  }

  bind(client: ClientSocket): void {
    this.#client = client;
    if (!this.#leave) this.close(CLOSE.tryAgainLater, "Too many adapters are connected");
  }

  greeted({ channel, asks }: { channel: string; asks: boolean }, by: Claimant): void {
    this.#channel = channel;
    this.#asks = asks;
    this.#by = by;
  }

  /** Another connection of the adapter has said hello with this epoch. */
  supersededBy(adapter: string, epoch: number): void {
    if (this.#by?.adapter !== adapter) return;
    if (this.#by.epoch < epoch) this.close(CLOSE.policy, SUPERSEDED);
    else this.close(CLOSE.serviceRestart, "The adapter has connected anew");
  }

  notify(method: string, params: unknown): void {
    // News that a slow adapter would get late are no news.
    if (this.#fullSince === undefined) this.#send({ method, params });
  }

  /** Gives waiting requests what there is. */
  serve(): void {
    const by = this.#by;
    if (!by) return;
    while (!this.#isOver && this.#waiting.length > this.#claiming) {
      if (this.held.size >= MAX_HELD) return;
      const chats = new Set(Array.from(this.held.values(), ({ chatKey }) => chatKey));
      const head = this.channels.outbox.take(this.#channel, by, ({ delivery: { target } }) =>
        chats.has(target.chatKey),
      );
      if (!head) return;
      this.#claiming += 1;
      // The chat is taken while its claim is on the way to the disk.
      this.held.set(head.delivery.id, { uid: head.uid, chatKey: head.delivery.target.chatKey });
      void claimNext(this, by, head)
        .then((result) => this.#give(result))
        .finally(() => {
          this.#claiming -= 1;
          this.channels.outbox.give(head);
        });
    }
  }

  #give(result: unknown): void {
    if (result !== undefined) this.#send({ id: this.#waiting.shift(), result });
  }

  close(code: number, reason: string): void {
    this.#end();
    this.#client?.close(code, reason);
  }

  accept(buffer: Buffer, start: number, end: number): boolean {
    if (this.#isOver) return false;
    if (end - start > MAX_FRAME_BYTES) {
      this.close(CLOSE.tooBig, `A frame has at most ${MAX_FRAME_BYTES} bytes`);
      return false;
    }
    const request = readFrame(buffer.toString("utf8", start, end));
    if (!request) this.close(CLOSE.policy, "Send one JSON request per frame");
    else void this.#take(request);
    return false;
  }

  async #take(request: Request): Promise<void> {
    const { id, method } = request;
    if (!this.#by && method !== CHANNEL.hello) {
      return this.close(CLOSE.policy, `The first frame is ${CHANNEL.hello}`);
    }
    if (this.#by && !this.channels.isCurrent(this.#by.adapter, this.#by.epoch)) {
      return this.close(CLOSE.policy, SUPERSEDED);
    }
    if (this.#serving + this.#waiting.length >= MAX_SERVING) {
      const error = { code: RPC_ERROR.busy, message: "Too many requests wait." };
      return this.#send({ id, error: { ...error, data: { code: "Busy" } } });
    }
    if (method === CHANNEL.next) {
      this.#waiting.push(id);
      return this.serve();
    }
    this.#serving += 1;
    const answer = await answerTo(request, METHODS, this);
    this.#serving -= 1;
    this.#answer(answer);
  }

  #answer(answer: object): void {
    // What a successor's hello overtook must not look like a permission.
    if (this.#by && !this.channels.isCurrent(this.#by.adapter, this.#by.epoch)) {
      return this.close(CLOSE.policy, SUPERSEDED);
    }
    this.#send(answer);
    this.serve();
  }

  #send(message: object): void {
    if (this.#isOver) return;
    const isTaken = this.#client?.send([textFrame(JSON.stringify(message))]) ?? true;
    if (!isTaken) this.#fullSince ??= monotonicMs();
  }

  lines(): boolean {
    return true;
  }

  drained(): void {
    this.#fullSince = undefined;
  }

  closed(): void {
    this.#end();
  }

  tick(now: number): void {
    if (!this.#by && now - this.#since > HELLO_DEADLINE_MS) {
      this.close(CLOSE.policy, `No ${CHANNEL.hello} in time`);
    }
    if (this.#fullSince !== undefined && now - this.#fullSince > SLOW_MS) {
      this.channels.options.logger.warn({ adapter: this.#by?.adapter }, "slow adapter is cut off");
      this.#end();
      this.#client?.destroy();
    }
  }

  /** A claim could not be written: said in the log, the request waits on. */
  failed(error: unknown): void {
    const facts = { adapter: this.#by?.adapter, error: errorMessage(error) };
    this.channels.options.logger.warn(facts, "a claim failed");
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting = [];
    this.#leave?.();
  }
}
