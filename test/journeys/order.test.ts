import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Adapter, startAdapter } from "#channel/adapter.ts";
import type { Part } from "#channel/sender.ts";
import { silentLogger } from "#lib/logger.ts";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { proofSize } from "#test/support/proof.ts";
import { proofSeed } from "#test/support/seed.ts";
import { randomSource } from "../bench/relay/random-lines.ts";

const SESSIONS = proofSize(24, 200);
const MESSAGES = proofSize(12, 50);
const FAILING = 20;
const CHANNELS = ["alpha", "beta"];
/** A request to a channel takes up to this. */
const SEND_MS = 60;
/** The last channel answers nothing at first: its deliveries pile up. */
const slow = Promise.withResolvers<void>();
const random = randomSource(proofSeed());

interface Shown {
  channel: string;
  chatKey: string;
  sessionId: string;
  kind: string;
  inputId: string | null;
  text: string;
}

let rig: GatewayRig;
const stop = new AbortController();
const adapters = new Map<string, Adapter>();
const shown: Shown[] = [];
beforeAll(async () => {
  rig = await GatewayRig.start();
  for (const channel of CHANNELS) adapters.set(channel, connect(channel));
});
afterAll(async () => {
  slow.resolve();
  stop.abort();
  await Promise.all([...adapters.values()].map(({ closed }) => closed));
  await rig?.stop();
});

/** A channel's adapter as it is, over a channel that answers late: what it would show is kept. */
function connect(channel: string): Adapter {
  const options = { gatewayUrl: rig.url, token: async () => ADMIN, channel, adapter: channel };
  const send = async ({ delivery, sessionId, text, key }: Part) => {
    const { target, kind, inputId } = delivery;
    if (channel === CHANNELS.at(-1)) await slow.promise;
    await delay(random() * SEND_MS);
    shown.push({ ...target, sessionId, kind, inputId, text });
    return { state: "sent", ref: key } as const;
  };
  const sender = { parts: ({ text }: { text: string }) => [text], send };
  return startAdapter({ ...options, sender, parallel: 32, logger: silentLogger() }, stop.signal);
}

/** An agent that answers each message with its words, fails where it shall, and may be held. */
class Agent {
  readonly bridge = new LaneBridge();
  readonly fails = new Set<string>();
  isHeld = false;
  #held: (() => void)[] = [];

  constructor() {
    this.bridge.onStarted = (input) => {
      const run = () => setImmediate(() => this.#answer(input));
      if (this.isHeld) this.#held.push(run);
      else run();
    };
  }

  letGo(): void {
    this.isHeld = false;
    for (const run of this.#held.splice(0)) run();
  }

  #answer({ id, text, turn }: { id: string; text: string; turn: string }): void {
    if (this.fails.has(text)) return this.bridge.end(id, "failed", { message: "no credit" });
    const item = { id: "m", type: "agentMessage", text: `did ${text}` };
    this.bridge.say("item/completed", { turnId: turn, item });
    this.bridge.end(id);
  }
}

const wordOf = (session: string, index: number) => `${session} message ${index}`;
/** Messages of a session come from its two chats by turns, one in each channel. */
const sourceOf = (session: string, index: number) => {
  const channel = CHANNELS[index % CHANNELS.length] ?? "";
  return { channel, chatKey: `${session}-in-${channel}` };
};

/** One message after the other, so that their order is known. Resolves to their ids. */
async function talk(session: string): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < MESSAGES; index += 1) {
    const { channel, chatKey } = sourceOf(session, index);
    const text = wordOf(session, index);
    const message = { sessionId: session, chatKey, key: text, text };
    const { inputId } = (await adapters.get(channel)?.input(message)) ?? { inputId: "" };
    ids.push(inputId);
  }
  return ids;
}

test("many sessions at once, some turns failing, a stuck session, a stuck channel: order is kept, each reply goes to its own source", async () => {
  const names = Array.from({ length: SESSIONS }, (_, index) => `s${index}`);
  const agents = new Map(names.map((name) => [name, new Agent()]));
  const failing = new Set<string>();
  while (failing.size < FAILING) {
    const name = names[Math.floor(random() * SESSIONS)] ?? "";
    const word = wordOf(name, Math.floor(random() * MESSAGES));
    failing.add(word);
    agents.get(name)?.fails.add(word);
  }
  const stuck = names[Math.floor(random() * SESSIONS)] ?? "";
  const held = agents.get(stuck);
  if (held) held.isHeld = true;
  for (const [name, { bridge }] of agents) {
    rig.putSession(name);
    await rig.putPod(name, bridge.onPeer);
  }
  const since = performance.now();
  const ids = new Map(
    await Promise.all(names.map(async (name) => [name, await talk(name)] as const)),
  );
  const total = SESSIONS * MESSAGES;
  const others = total - MESSAGES;
  const ofEach = others / CHANNELS.length;
  await eventually("the quick channel's part of them", () => shown.length >= ofEach, 600_000);
  expect(new Set(shown.map(({ channel }) => channel)).size).toBe(1);
  slow.resolve();
  await eventually("all but the stuck session", () => shown.length >= others, 600_000);
  expect(shown.some(({ sessionId }) => sessionId === stuck)).toBe(false);
  expect(held?.bridge.started).toHaveLength(1);
  held?.letGo();
  await eventually("the stuck session too", () => shown.length >= total, 120_000);
  const seconds = (performance.now() - since) / 1000;
  for (const name of names) checkSession(name, { agents, failing, ids: ids.get(name) ?? [] });
  expect(shown).toHaveLength(total);
  console.info(`${total} messages, ${FAILING} failed turns, ${seconds.toFixed(1)} s`);
}, 840_000);

interface Expected {
  agents: Map<string, Agent>;
  failing: Set<string>;
  ids: string[];
}

function checkSession(name: string, { agents, failing, ids }: Expected): void {
  const words = ids.map((_, index) => wordOf(name, index));
  const started = agents.get(name)?.bridge.started ?? [];
  expect(started.map(({ text }) => text)).toEqual(words);
  for (const channel of CHANNELS) {
    const chatKey = `${name}-in-${channel}`;
    const there = shown.filter((each) => each.channel === channel && each.chatKey === chatKey);
    const expected = ids.flatMap((inputId, index) => {
      const word = wordOf(name, index);
      if (sourceOf(name, index).channel !== channel) return [];
      const isFailed = failing.has(word);
      const text = isFailed ? expect.stringContaining("no credit") : `did ${word}`;
      const kind = isFailed ? "notice" : "message";
      return [{ channel, chatKey, sessionId: name, kind, inputId, text }];
    });
    expect(there).toEqual(expected);
  }
}
