import { z } from "zod";
import { Connection } from "#channel/connection.ts";
import {
  CHANNEL,
  HeldResult,
  HelloResult,
  InputResult,
  NextResult,
  OutcomeResult,
  type PartOutcome,
} from "#protocol/channel.ts";

/** An adapter that does one step at a time, as a test says. */
export class AdapterPeer {
  readonly notices: { method: string; params: unknown }[] = [];
  readonly #connection: Connection;
  hello: HelloResult = { epoch: 0, leaseMs: 0, maxHeld: 0, held: [] };

  static async open(url: string, token: string): Promise<AdapterPeer> {
    const notices: AdapterPeer["notices"] = [];
    const onNotice = (method: string, params: unknown) => notices.push({ method, params });
    const options = { gatewayUrl: url, token, onNotice };
    return new AdapterPeer(await Connection.open(options, AbortSignal.timeout(20_000)), notices);
  }

  /** Says hello too. */
  static async greet(
    url: string,
    token: string,
    params: {
      channel?: string;
      adapter?: string;
      epoch?: number;
      holding?: string[];
      asks?: boolean;
    } = {},
  ): Promise<AdapterPeer> {
    const peer = await AdapterPeer.open(url, token);
    const facts = { channel: "hook", adapter: "one", ...params };
    peer.hello = await peer.request(CHANNEL.hello, facts, HelloResult);
    return peer;
  }

  private constructor(connection: Connection, notices: AdapterPeer["notices"]) {
    this.#connection = connection;
    this.notices = notices;
  }

  get gone(): Promise<Error> {
    return this.#connection.gone;
  }

  request<T>(method: string, params: unknown, result: z.ZodType<T>): Promise<T> {
    return this.#connection.request(method, params, result);
  }

  next = () => this.request(CHANNEL.next, {}, NextResult);

  sending = (deliveryId: string, part: number, parts = 1) =>
    this.request(CHANNEL.sending, { deliveryId, part, parts, mode: "send" }, z.unknown());

  outcome = (deliveryId: string, part: number, outcome: PartOutcome) =>
    this.request(CHANNEL.outcome, { deliveryId, part, outcome }, OutcomeResult);

  renew = (...deliveryIds: string[]) => this.request(CHANNEL.renew, { deliveryIds }, HeldResult);
  release = (...deliveryIds: string[]) =>
    this.request(CHANNEL.release, { deliveryIds }, HeldResult);
  input = (params: object) => this.request(CHANNEL.input, params, InputResult);

  /** Sends one part of one delivery to its end. */
  async sendOne(): Promise<string> {
    const { delivery } = await this.next();
    await this.sending(delivery.id, 0);
    await this.outcome(delivery.id, 0, { state: "sent", ref: "r" });
    return delivery.id;
  }

  close(): void {
    this.#connection.close();
  }
}
