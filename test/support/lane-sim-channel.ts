import { deliver } from "#channel/deliver.ts";
import type { Part, Sender, SendFacts } from "#channel/sender.ts";
import { greet } from "#gateway/state/adapters.ts";
import {
  type Claimant,
  claim,
  claimable,
  partOutcome,
  release,
  sendingPart,
} from "#gateway/state/outbox.ts";
import { ArgusError } from "#lib/errors.ts";
import {
  CHANNEL,
  HeldParams,
  LEASE_MS,
  type NextResult,
  OutcomeParams,
  type PartOutcome,
  SendingParams,
} from "#protocol/channel.ts";
import type { Delivery } from "#protocol/delivery.ts";
import type { Adapters } from "#protocol/document.ts";
import type { LaneSim } from "./lane-sim.ts";

const NAME = "a";
const LIMIT = 512 * 1024;
const POLL_MS = 500;
const AGAIN_MS = 250;
const SEND_MS = 400;
/** The pause that the channel asks for once. */
export const PAUSE_MS = 120_000;
export const SLOW_CHAT = "slow";
export const MUTE_CHAT = "mute";
export const GONE_CHAT = "gone";

/** A channel as its people see it. Some chats are slow for a while, never answer, or are gone. */
export class SimChannel {
  /** What is shown, in order. */
  readonly shown: { key: string; chatKey: string; kind: string; isMarked: boolean }[] = [];
  /** Unmarked tries within a pause that the channel asked for. */
  readonly hasty: string[] = [];
  readonly #pauses = new Map<string, number>();

  take({ key, delivery: { target, kind } }: Part, mark: string, now: number): PartOutcome {
    const { chatKey } = target;
    if (chatKey === GONE_CHAT) return { state: "refused", reason: "the chat is gone" };
    const until = this.#pauses.get(key) ?? (chatKey === SLOW_CHAT ? now + PAUSE_MS : 0);
    this.#pauses.set(key, until);
    if (until > now) {
      if (until < now + PAUSE_MS && mark === "") this.hasty.push(key);
      return { state: "notSent", reason: "slow down", retryAfterMs: until - now };
    }
    this.shown.push({ key, chatKey, kind, isMarked: mark !== "" });
    if (chatKey === MUTE_CHAT) return { state: "unknown", reason: "no answer" };
    return { state: "sent", ref: `ref of ${key}` };
  }
}

/** The gateway's side of the adapters' protocol on the simulation's clock, over the same reducers. */
export class SimEndpoint {
  readonly #sim: LaneSim;
  #adapters: Adapters = { epoch: 0, known: [] };
  /** Of the adapter's connection: delivery → its chat, of which no second one is given to it, whatever a lease says. */
  #held = new Map<string, string>();

  constructor(sim: LaneSim) {
    this.#sim = sim;
  }

  async hello(epoch: number | undefined, holding: readonly string[]): Promise<number> {
    const { document, answer } = greet(this.#adapters, { name: NAME, epoch });
    this.#adapters = document;
    const by = { adapter: NAME, epoch: answer };
    const { state } = this.#sim.lane;
    const kept = state.current.deliveries.filter(({ id }) => holding.includes(id));
    this.#held = new Map(kept.map(({ id, target }) => [id, target.chatKey]));
    const lost = state.current.deliveries.filter(({ id }) => !holding.includes(id));
    for (const { id } of lost) await state.update((each) => release(each, id, by));
    return answer;
  }

  async answer(method: string, params: unknown, by: Claimant): Promise<unknown> {
    const { state } = this.#sim.lane;
    const now = this.#sim.clock.now();
    if (method === CHANNEL.next) return await this.#next(by);
    if (method === CHANNEL.sending) {
      const { deliveryId: id, ...what } = SendingParams.parse(params);
      const facts = { id, by, ...what, leaseMs: LEASE_MS, now };
      return await state.reduce((document) => sendingPart(document, facts));
    }
    if (method === CHANNEL.release) {
      for (const id of HeldParams.parse(params).deliveryIds) await this.#released(id, by);
      return { lost: [] };
    }
    const { deliveryId: id, part, outcome } = OutcomeParams.parse(params);
    const facts = { id, by, part, outcome, now, limit: LIMIT };
    const said = await state
      .reduce((document) => partOutcome(document, facts))
      .catch((error: unknown) => {
        if (error instanceof ArgusError && error.code === "Conflict") this.#held.delete(id);
        throw error;
      });
    if ("claim" in said && said.claim) return { delivery: said };
    this.#held.delete(id);
    return "endedAt" in said ? { ended: said } : {};
  }

  async #released(id: string, by: Claimant): Promise<void> {
    await this.#sim.lane.state.update((document) => release(document, id, by));
    this.#held.delete(id);
  }

  /** What there is now, if anything. */
  async #next(by: Claimant): Promise<NextResult | undefined> {
    const { state } = this.#sim.lane;
    const now = this.#sim.clock.now();
    const chats = new Set(this.#held.values());
    const heads = claimable(state.current, "c", by, now);
    const head = heads.find(({ target }) => !chats.has(target.chatKey));
    if (!head) return undefined;
    this.#held.set(head.id, head.target.chatKey);
    const facts = { id: head.id, by, channel: "c", leaseMs: LEASE_MS, now, limit: LIMIT };
    const delivery = await state.reduce((document) => claim(document, facts));
    if (!delivery) this.#held.delete(head.id);
    return delivery && { sessionId: "main", delivery };
  }
}

/** One process of the channel's adapter: the real sending of a delivery, over calls that may be lost. */
export class SimAdapter implements Sender {
  readonly #sim: LaneSim;
  readonly #stop = new AbortController();
  readonly #holding = new Set<string>();
  readonly #alive = () => !this.#stop.signal.aborted;
  #epoch: number | undefined;
  /** The gateway's process that it has said hello to, and who it is there. */
  #hello: { gateway: AbortSignal; by: Promise<Claimant> } | undefined;

  constructor(sim: LaneSim) {
    this.#sim = sim;
    for (let lane = 0; lane < 2; lane += 1) void this.#serve();
  }

  die(): void {
    this.#stop.abort();
  }

  parts({ text }: Delivery): string[] {
    return text.split(" ").slice(0, 2);
  }

  async send(part: Part, { mark }: SendFacts): Promise<PartOutcome> {
    return await this.#sim.effect("adapter", this.#alive, async () => {
      await this.#sim.clock.sleep(SEND_MS);
      return this.#sim.channel.take(part, mark, this.#sim.clock.monotonicMs());
    });
  }

  async #serve(): Promise<void> {
    const { clock } = this.#sim;
    while (this.#alive()) {
      const claimed = (await this.#insist(CHANNEL.next, {})) as NextResult | undefined;
      if (!claimed) {
        await clock.sleep(POLL_MS);
        continue;
      }
      const { id } = claimed.delivery;
      this.#holding.add(id);
      const { signal } = this.#stop;
      const insist = async <T>({ method, params }: { method: string; params: unknown }) =>
        (await this.#insist(method, params)) as T;
      const more = { link: { insist }, now: () => clock.monotonicMs(), stopping: signal, signal };
      await deliver(claimed, { sender: this, leaseMs: LEASE_MS, ...more }).catch(() =>
        clock.sleep(AGAIN_MS),
      );
      this.#holding.delete(id);
    }
  }

  /** Asks until there is an answer, over any number of lives of the gateway. */
  async #insist(method: string, params: unknown): Promise<unknown> {
    for (;;) {
      try {
        return await this.#ask(method, params);
      } catch (error) {
        // A dead process hears nothing.
        if (!this.#alive()) return await new Promise<never>(() => undefined);
        if (!(error instanceof ArgusError && error.code === "Unavailable")) throw error;
        await this.#sim.clock.sleep(AGAIN_MS);
      }
    }
  }

  async #ask(method: string, params: unknown): Promise<unknown> {
    const { gateway, endpoint } = this.#sim;
    if (gateway.aborted) throw away();
    const ask = async () => endpoint.answer(method, params, await this.#greeted(gateway));
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => undefined);
    const lose = () => lost.reject(away());
    gateway.addEventListener("abort", lose, { once: true });
    const call = () => Promise.race([ask(), lost.promise]);
    // Looking for work changes nothing; a claim's commit is an effect.
    const isEffect = method !== CHANNEL.next;
    const answer = isEffect ? await this.#sim.effect("adapter", this.#alive, call) : await call();
    gateway.removeEventListener("abort", lose);
    // A dead process hears nothing.
    return this.#alive() ? answer : await new Promise<never>(() => undefined);
  }

  /** One hello for each connection. */
  #greeted(gateway: AbortSignal): Promise<Claimant> {
    if (this.#hello?.gateway === gateway) return this.#hello.by;
    const by = this.#sim.endpoint
      .hello(this.#epoch, [...this.#holding])
      .then((epoch): Claimant => ({ adapter: NAME, epoch: (this.#epoch = epoch) }));
    by.catch(() => undefined);
    this.#hello = { gateway, by };
    return by;
  }
}

function away(): ArgusError {
  return new ArgusError("Unavailable", "The gateway cannot be reached.");
}
