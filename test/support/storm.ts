import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Adapter, startAdapter } from "#channel/adapter.ts";
import type { Part, SendFacts } from "#channel/sender.ts";
import { silentLogger } from "#lib/logger.ts";
import { EVENTS_PATH } from "#protocol/events.ts";
import { type FakeModel, startFakeModel } from "#test/fakes/model.ts";
import { ArgusUp } from "./argus-up.ts";
import { eventually } from "./eventually.ts";
import { killAll } from "./processes.ts";

/** What dies: one process of these, the one that is found by these words on its command line. */
export const VICTIMS = {
  gateway: "argus.mjs gateway",
  controller: "argus.mjs controller",
  bridge: "argus.mjs bridge",
  codex: "app-server",
} as const;
export type Victim = keyof typeof VICTIMS;

const CHANNEL = "storm";
/** Between two messages, and between two events of a session. */
const PAUSE_MS = 1500;
const PATIENCE_MS = 300_000;
const HEARTBEAT_SECONDS = 60;

export interface StormOptions {
  sessions: number;
  /** Of every session's cron, six fields. */
  schedule: string;
  random: () => number;
}

export interface SentMessage {
  session: string;
  chatKey: string;
  inputId: string;
  /** In its text and in nothing else. */
  word: string;
}

export interface SentEvent {
  session: string;
  key: string;
  word: string;
}

/** One part that the channel showed. */
export interface Shown {
  deliveryId: string;
  part: number;
  chatKey: string;
  kind: string;
  inputId: string | null;
  text: string;
  isMarked: boolean;
}

/** Real processes and the real Codex under messages, events, slots and heartbeats that do not end until they are told to. */
export class Storm {
  readonly up: ArgusUp;
  readonly model: FakeModel;
  readonly names: string[];
  /** What was accepted, in the order in which it was. */
  readonly messages: SentMessage[] = [];
  readonly events: SentEvent[] = [];
  readonly shown: Shown[] = [];
  readonly #options: StormOptions;
  readonly #adapter: Adapter;
  readonly #stop = new AbortController();
  readonly #ebb = new AbortController();
  #flows: Promise<void>[] = [];

  static async start(options: StormOptions): Promise<Storm> {
    const model = await startFakeModel();
    const env = { ARGUS_MODEL_UPSTREAM: model.url, ARGUS_MODEL: "mock-model" };
    const up = await ArgusUp.start({ env });
    const storm = new Storm(up, model, options);
    await Promise.all(storm.names.map((name) => storm.#prepare(name)));
    return storm;
  }

  private constructor(up: ArgusUp, model: FakeModel, options: StormOptions) {
    this.up = up;
    this.model = model;
    this.#options = options;
    this.names = Array.from({ length: options.sessions }, (_, index) => `storm-${index}`);
    const sender = { parts: ({ text }: { text: string }) => [text], send: this.#send };
    const facts = { gatewayUrl: up.url, token: async () => up.token, channel: CHANNEL };
    const more = { adapter: "storm", sender, parallel: 16, logger: silentLogger() };
    this.#adapter = startAdapter({ ...facts, ...more }, this.#stop.signal);
  }

  readonly #send = async (part: Part, { mark }: SendFacts) => {
    const { id: deliveryId, target, kind, inputId } = part.delivery;
    const { chatKey } = target;
    await delay(this.#options.random() * 50);
    const isMarked = mark !== "";
    this.shown.push({
      deliveryId,
      part: part.number,
      chatKey,
      kind,
      inputId,
      text: part.text,
      isMarked,
    });
    return { state: "sent", ref: part.key } as const;
  };

  /** A session with something to do at its heartbeats, a chat that hears of its events, and a schedule. */
  async #prepare(name: string): Promise<void> {
    const heartbeat = `heartbeat: { intervalSeconds: ${HEARTBEAT_SECONDS} }`;
    const session = `apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: ${name} }
spec: { approvals: never, ${heartbeat} }
`;
    await this.up.kubectl(["apply", "-f", "-"], session);
    await this.up.kubectl(["wait", "--for=condition=Ready", `asess/${name}`, "--timeout=90s"]);
    await this.call(name, "chat/bind", { chat: `${CHANNEL}:home-${name}`, by: "test" });
    const words = "run: echo '- [ ] water the plants' >> HEARTBEAT.md";
    const { inputId } = await this.#adapter.input({
      sessionId: name,
      chatKey: "setup",
      key: name,
      text: words,
    });
    await this.ended(name, inputId);
    const cron = `apiVersion: argus.dev/v1alpha1
kind: ArgusCron
metadata: { name: ${name} }
spec:
  schedule: "${this.#options.schedule}"
  sessionRef: { name: ${name} }
  event: { text: "slot of ${name}" }
`;
    await this.up.kubectl(["apply", "-f", "-"], cron);
  }

  /** `argus/…` of a session; asked until it is answered. */
  async call(
    session: string,
    method: string,
    params: object = {},
  ): Promise<Record<string, unknown>> {
    return await eventually(
      `${method} of ${session} is answered`,
      async () => {
        const answer = await this.#post("/call", { session, method: `argus/${method}`, params });
        const { result, detail } = (await answer.json()) as { result?: object; detail?: string };
        if (!result) throw new Error(`${answer.status} ${detail}`);
        return result as Record<string, unknown>;
      },
      PATIENCE_MS,
    );
  }

  async #post(path: string, body: object): Promise<Response> {
    return await fetch(`${this.up.url}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${this.up.token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }

  /** How the message ended. */
  async ended(session: string, inputId: string): Promise<{ state: string; reason: string }> {
    return await eventually(
      `the end of ${inputId} in ${session}`,
      async () => {
        const { ended } = await this.call(session, "input/list");
        return (ended as { id: string; state: string; reason: string }[]).find(
          ({ id }) => id === inputId,
        );
      },
      PATIENCE_MS,
    );
  }

  /** From now on everything flows. */
  begin(): void {
    this.#flows = this.names.flatMap((name) => [
      this.#flow(() => this.#talk(name)),
      this.#flow(() => this.#report(name)),
      this.#flow(() => this.call(name, "heartbeat/request").then(() => this.#rest(5))),
    ]);
    for (const flow of this.#flows) flow.catch(() => {}); // looked at by calm()
  }

  async #flow(step: () => Promise<void>): Promise<void> {
    while (!this.#ebb.signal.aborted) await step();
  }

  async #rest(times = 1): Promise<void> {
    const ms = this.#options.random() * PAUSE_MS * 2 * times;
    await delay(ms, undefined, { signal: this.#ebb.signal }).catch(() => {});
  }

  /** Some messages at once, then their ends: never more than a few wait. */
  async #talk(session: string): Promise<void> {
    const { random } = this.#options;
    const count = 1 + Math.floor(random() * 2);
    for (let index = 0; index < count; index += 1) await this.say(session);
    const last = this.messages.findLast((each) => each.session === session);
    if (last) await this.ended(session, last.inputId);
    await this.#rest();
  }

  /** Plain words, a command, or an answer that takes a second. */
  async say(session: string): Promise<SentMessage> {
    const word = `word-${randomUUID()}`;
    const verbs = ["", "", "run: echo ", "slow: 10 "];
    const text = `${verbs[Math.floor(this.#options.random() * verbs.length)]}${word}`;
    const chatKey = `chat-${session}`;
    const { inputId } = await this.#adapter.input({ sessionId: session, chatKey, key: word, text });
    const sent = { session, chatKey, inputId, word };
    this.messages.push(sent);
    return sent;
  }

  /** Posts one event until it is taken, as a program that must not lose it does. */
  async #report(session: string): Promise<void> {
    const word = `event-${randomUUID()}`;
    const body = { sessionId: session, key: word, text: word };
    const isTaken = async () => (await this.#post(EVENTS_PATH, body)).status === 202;
    await eventually(`${word} is taken`, isTaken, PATIENCE_MS);
    this.events.push({ session, key: word, word });
    await this.#rest();
  }

  /** Kills one process of this kind; false: none lives at the moment. */
  kill(victim: Victim): boolean {
    const found = this.up.find(VICTIMS[victim]);
    const one = found[Math.floor(this.#options.random() * found.length)];
    if (one) killAll([one]);
    return one !== undefined;
  }

  /** Nothing new is sent; resolves when what was sent has been taken and nothing is open any more, with nobody's help. */
  async calm(): Promise<void> {
    this.#ebb.abort();
    await Promise.all(this.#flows);
    const suspend = ["--type=merge", "-p", '{"spec":{"suspend":true}}'];
    for (const name of this.names) await this.up.kubectl(["patch", "acron", name, ...suspend]);
    for (const name of this.names) {
      await eventually(`nothing is open in ${name}`, () => this.#isSettled(name), PATIENCE_MS);
    }
  }

  async #isSettled(name: string): Promise<boolean> {
    const { inputs } = await this.call(name, "input/list");
    const { events } = await this.call(name, "event/list", { limit: 1000 });
    const { deliveries } = await this.call(name, "delivery/list");
    const open = (events as { state: string }[]).filter(({ state }) =>
      ["Queued", "Running"].includes(state),
    );
    return [inputs, open, deliveries].every((list) => (list as unknown[]).length === 0);
  }

  async destroy(): Promise<void> {
    this.#ebb.abort();
    this.#stop.abort();
    await Promise.allSettled(this.#flows);
    await this.#adapter.closed.catch(() => {});
    await this.up.destroy();
    await this.model.close();
  }
}
