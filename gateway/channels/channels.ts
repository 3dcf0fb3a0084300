import type { Logger } from "#lib/logger.ts";
import { CHANNEL, type EndedNotice, type ProgressNotice } from "#protocol/channel.ts";
import type { EndedInput } from "#protocol/lane-entry.ts";
import type { TurnProgress } from "#protocol/lane-methods.ts";
import type { Directory } from "../directory.ts";
import type { Lane } from "../lanes/lane.ts";
import { ALL, type DocumentWatcher, type Lanes } from "../lanes/lanes.ts";
import { epochOf, greet } from "../state/adapters.ts";
import type { GatewayState } from "../state/gateway-state.ts";
import type { AdapterConnection } from "./adapter-connection.ts";
import { AskDesk } from "./ask-desk.ts";
import type { FileDesk } from "./file-desk.ts";
import { Outbox } from "./outbox.ts";

/** Connections of adapters; a further one is refused as busy. */
export const MAX_CONNECTIONS = 64;

export interface ChannelsOptions {
  state: GatewayState;
  lanes: Lanes;
  directory: Directory;
  files: FileDesk;
  logger: Logger;
  /** Aborts when the gateway stops. */
  signal: AbortSignal;
}

/** The channels' adapters that are connected, and what there is for them. */
export class Channels implements DocumentWatcher {
  readonly options: ChannelsOptions;
  readonly outbox: Outbox;
  readonly asks: AskDesk;
  readonly #connections = new Set<AdapterConnection>();
  /** Session object's UID → its ended messages as they were last seen. */
  readonly #ended = new Map<string, EndedInput[]>();

  constructor(options: ChannelsOptions) {
    this.options = options;
    const onReady = (channel: string) => {
      for (const each of this.#of(channel)) each.serve();
    };
    this.outbox = new Outbox({ logger: options.logger, onReady });
    const askerOf = (channel: string) => {
      const connected = this.#of(channel);
      return connected.find(({ asks }) => asks) ?? (connected.length > 0 ? "cannot" : "away");
    };
    this.asks = new AskDesk({ logger: options.logger, askerOf });
    options.files.tell = (channel, method, params) => {
      for (const each of this.#of(channel)) each.notify(method, params);
    };
    options.lanes.watchDocuments(this);
    options.lanes.watch(ALL, {
      onProgress: (progress, session) => this.#tellProgress(progress, session),
    });
  }

  /** Undefined = there are too many. */
  add(connection: AdapterConnection): (() => void) | undefined {
    if (this.#connections.size >= MAX_CONNECTIONS) return undefined;
    this.#connections.add(connection);
    return () => this.#connections.delete(connection);
  }

  /** Resolves to the process's epoch once it is durable and the adapter's other connections are over. Throws as {@link greet}. */
  async greet(name: string, epoch: number | undefined, by: AdapterConnection): Promise<number> {
    const { state } = this.options;
    const given = await state.reduce((document) => {
      const { document: adapters, answer } = greet(document.adapters, { name, epoch });
      const isSame = adapters === document.adapters;
      return { document: isSame ? document : { ...document, adapters }, answer };
    });
    for (const other of this.#connections) if (other !== by) other.supersededBy(name, given);
    return given;
  }

  /** Whether the process is the adapter's newest. */
  isCurrent(name: string, epoch: number): boolean {
    return epochOf(this.options.state.current.adapters, name) === epoch;
  }

  changed(uid: string, lane: Lane, name: string): void {
    this.outbox.changed(uid, lane, name);
    this.asks.changed(uid, lane, name);
    const { ended } = lane.state.current;
    const before = this.#ended.get(uid);
    if (before === ended) return;
    this.#ended.set(uid, ended);
    if (before) this.#tellEnded(name, newOnes(before, ended));
  }

  gone(uid: string): void {
    this.outbox.gone(uid);
    this.asks.gone(uid);
    this.#ended.delete(uid);
  }

  /** Connections are closed with all others. */
  close(): void {
    this.outbox.close();
    this.asks.close();
  }

  #of(channel: string): AdapterConnection[] {
    return [...this.#connections].filter((each) => each.channel === channel);
  }

  #tellProgress({ inputId, source, words }: TurnProgress, sessionId: string): void {
    if (!source || inputId === null) return;
    const params: ProgressNotice = { sessionId, chatKey: source.chatKey, inputId, words };
    for (const each of this.#of(source.channel)) each.notify(CHANNEL.progress, params);
  }

  #tellEnded(sessionId: string, ended: EndedInput[]): void {
    for (const { id: inputId, key: full, source, state, reason } of ended) {
      if (!source) continue;
      const { chatKey, channel } = source;
      const key = full.startsWith(`${channel}:`) ? full.slice(channel.length + 1) : full;
      const params: EndedNotice = { sessionId, chatKey, inputId, key, state, reason };
      for (const each of this.#of(channel)) each.notify(CHANNEL.ended, params);
    }
  }
}

/** Entries at the end of `after` that `before` did not have. */
function newOnes(before: readonly EndedInput[], after: readonly EndedInput[]): EndedInput[] {
  const last = before.at(-1)?.id;
  const at = last === undefined ? -1 : after.findLastIndex(({ id }) => id === last);
  return after.slice(at + 1);
}
