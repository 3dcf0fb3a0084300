import { expect, test } from "vitest";
import { requestHeartbeat } from "#gateway/lanes/heartbeat.ts";
import { enqueueEvent } from "#gateway/state/events.ts";
import { enqueue } from "#gateway/state/inputs.ts";
import { isOpen } from "#gateway/state/next.ts";
import { FATES, type Fate, LaneSim } from "#test/support/lane-sim.ts";
import { GONE_CHAT, MUTE_CHAT, SLOW_CHAT } from "#test/support/lane-sim-channel.ts";
import { proofSize } from "#test/support/proof.ts";
import { proofSeed } from "#test/support/seed.ts";
import { randomSource } from "../../bench/relay/random-lines.ts";

const LIMIT = 512 * 1024;
const MESSAGES = ["hello", "use a tool", "again", "use a tool again", "bye"];
const INPUTS = MESSAGES.map((_, index) => `in-${index}`);
const EVENTS = ["rain", "use a tool for it"];
const CHATS = ["plain", SLOW_CHAT, "plain", MUTE_CHAT, GONE_CHAT];
const HOME = { channel: "c", chatKey: "home" };

/** A sender that repeats its call until it is answered, as every sender with a key does. */
async function insist(sim: LaneSim, call: () => Promise<unknown>): Promise<void> {
  for (let round = 0; round < 10; round += 1) {
    const { lane } = sim;
    const outcome = { answered: false };
    void call().then(
      () => {
        outcome.answered = true;
      },
      () => undefined,
    );
    for (let step = 0; step < 4 && !outcome.answered; step += 1) await sim.clock.advance(1);
    if (outcome.answered && sim.lane === lane) return lane.wake();
  }
  throw new Error("nobody answered");
}

async function life(...crashes: { at: number; fate: Fate }[]): Promise<LaneSim> {
  const sim = new LaneSim(crashes);
  await sim.start();
  const now = () => sim.clock.now();
  await insist(sim, () => sim.lane.state.update((d) => ({ ...d, home: HOME })));
  for (const [index, text] of MESSAGES.entries()) {
    const source = { channel: "c", chatKey: CHATS[index] ?? "" };
    const wanted = { id: `in-${index}`, key: `m${index}`, text, threadId: null, source };
    await insist(sim, () =>
      sim.lane.state.reduce((d) => enqueue(d, { ...wanted, now: now(), limit: LIMIT })),
    );
  }
  for (const [index, text] of EVENTS.entries()) {
    const source = { name: "s", uid: `s${index}` };
    const wanted = { id: `e-${index}`, key: `e${index}`, kind: "k", text, threadId: null, source };
    const more = { wakes: true, policy: "Allow" as const, limit: LIMIT };
    await insist(sim, () =>
      sim.lane.state.reduce((d) => enqueueEvent(d, { ...wanted, ...more, now: now() })),
    );
  }
  await insist(sim, () => sim.lane.state.update(requestHeartbeat));
  const isIdle = () => !isOpen(sim.document);
  for (let minute = 0; minute < 400 && !isIdle(); minute += 1) await sim.clock.advance(5000);
  sim.stop();
  return sim;
}

function check(sim: LaneSim, ...crashes: { fate: Fate }[]): void {
  checkTurns(sim);
  checkReplies(
    sim,
    crashes.some(({ fate }) => fate === "clockForward"),
  );
}

function checkTurns({ document, bridge }: LaneSim): void {
  // Nothing is lost: each has exactly one end.
  expect(document.inputs).toEqual([]);
  expect(document.events).toEqual([]);
  expect(document.turn).toBeNull();
  expect(document.ended.map(({ key }) => key).toSorted()).toEqual(
    MESSAGES.map((_, index) => `m${index}`),
  );
  expect(document.endedEvents.map(({ key }) => key).toSorted()).toEqual(["e0", "e1"]);
  // Nothing happens twice: one turn per message, one with a tool per event, one reply per message.
  const inputs = bridge.ran.map(({ input }) => input);
  expect(new Set(inputs).size).toBe(inputs.length);
  expect(inputs.filter((id) => id.startsWith("in-"))).toEqual(INPUTS);
  for (const [index, text] of EVENTS.entries()) {
    const tools = bridge.ran.filter((turn) => turn.text.includes(`] ${text}`));
    const acted = tools.filter(({ input }) => bridge.ledger.get(input)?.ran);
    expect(acted.length, `event ${index}`).toBeLessThanOrEqual(1);
  }
  // Who is told that it is done was answered by a turn that completed.
  for (const { id, state } of document.ended) {
    const status = bridge.ledger.get(id)?.status;
    expect(state).toBe(status === "completed" ? "done" : status);
  }
  expect(document.heartbeat.requested).toBe(false);
}

/** Each reply ends once, and is shown whole, once or a second time with the mark; what nobody knows is said. */
function checkReplies({ document, channel, bridge }: LaneSim, isForward: boolean): void {
  expect(document.deliveries).toEqual([]);
  const ended = document.endedDeliveries;
  expect(new Set(ended.map(({ id }) => id)).size).toBe(ended.length);
  expect(ended.flatMap(({ inputId }) => inputId ?? []).toSorted()).toEqual(INPUTS);
  const background = bridge.ran.filter(({ input }) => !input.startsWith("in-"));
  expect(ended.length - INPUTS.length).toBeLessThanOrEqual(background.length + EVENTS.length);
  for (const { id, target, state, unclear, inputId } of ended) {
    const parts = channel.shown.filter(({ key }) => key.startsWith(`${id}.`));
    // A failure is told once more, as a person's answer is; an event's or heartbeat's words are not.
    const isNotice = parts.some(({ kind }) => kind === "notice");
    const repeats = inputId || isNotice ? 1 : 0;
    const counts = [0, 1].map((number) => {
      const tries = parts.filter(({ key }) => key === `${id}.${number}`);
      const marked = tries.filter(({ isMarked }) => isMarked).length;
      expect(marked, `marked tries of ${id}.${number}`).toBeLessThanOrEqual(repeats);
      expect(tries.length - marked, `unmarked tries of ${id}.${number}`).toBeLessThanOrEqual(1);
      return tries.length;
    });
    if (target.chatKey === GONE_CHAT) {
      expect([state, ...counts]).toEqual(["dead", 0, 0]);
    } else {
      const missing = counts.filter((count) => count === 0).length;
      expect(missing, `missing parts of ${id}`).toBeLessThanOrEqual(unclear);
      expect(state).toBe(unclear > 0 ? "ambiguous" : "delivered");
    }
  }
  // A clock that was set forward ends a pause early; the channel asks for it again.
  if (!isForward) expect(channel.hasty).toEqual([]);
  checkOrder(channel.shown, ended);
}

/** In each chat the replies come in the order of their turns, and their parts in order. */
function checkOrder(shown: LaneSim["channel"]["shown"], ended: { id: string }[]): void {
  for (const [chat, there] of Map.groupBy(shown, ({ chatKey }) => chatKey)) {
    const order = ended.flatMap(({ id }) => [`${id}.0`, `${id}.1`]);
    const places = there.map(({ key }) => order.indexOf(key));
    expect(places, chat).toEqual(places.toSorted((a, b) => a - b));
  }
}

test("whoever dies before or after any effect: nothing is lost, nothing happens twice, all is settled", async () => {
  const whole = await life();
  check(whole);
  const { shown } = whole.channel;
  expect(shown.filter(({ isMarked }) => isMarked).map(({ chatKey }) => chatKey)).toEqual(
    Array.from({ length: 2 }, () => MUTE_CHAT),
  );
  expect(whole.document.ended.every(({ state }) => state === "done")).toBe(true);
  let points = 0;
  for (let at = 0; at < whole.effects; at += 1) {
    for (const fate of FATES) {
      const sim = await life({ at, fate });
      try {
        check(sim, { fate });
      } catch (error) {
        throw new Error(`crash ${fate} at effect ${at}`, { cause: error });
      }
      points += 1;
    }
  }
  console.info(`proof: ${points} crashes: ${FATES.length} at each of ${whole.effects} effects`);
  expect(points).toBeGreaterThanOrEqual(400);
}, 300_000);

test("a pod that is Pending for an hour: the message waits and says for what, over a restart too, and runs once", async () => {
  const sim = new LaneSim();
  sim.podWords = "The session's pod is Pending: no node has 4 GiB of memory.";
  await sim.start();
  const source = { channel: "c", chatKey: "plain" };
  const wanted = { id: "in-0", key: "m0", text: "hello", threadId: null, source };
  await insist(sim, () =>
    sim.lane.state.reduce((d) => enqueue(d, { ...wanted, now: sim.clock.now(), limit: LIMIT })),
  );
  for (let minute = 0; minute < 60; minute += 1) {
    if (minute === 30) await sim.restart();
    await sim.clock.advance(60_000);
    expect(sim.lane.waitsFor).toBe(sim.podWords);
    expect(sim.document.inputs).toHaveLength(1);
  }
  sim.podWords = "";
  await sim.clock.advance(60_000);
  sim.stop();
  expect(sim.document.ended).toMatchObject([{ key: "m0", state: "done" }]);
  expect(sim.bridge.ran).toHaveLength(1);
  expect(new Set(sim.channel.shown.map(({ key }) => key)).size).toBe(sim.channel.shown.length);
});

test("whoever dies several times: the same holds, and a part that was cut twice is told as unclear", async () => {
  const random = randomSource(proofSeed());
  const pick = (below: number) => Math.floor(random() * below);
  const { effects } = await life();
  let unclear = 0;
  for (let round = proofSize(100, 2000); round > 0; round -= 1) {
    const crashes = Array.from({ length: 2 + pick(4) }, () => ({
      at: pick(effects + 40),
      fate: FATES[pick(FATES.length)] ?? "gatewayAfter",
    }));
    const sim = await life(...crashes);
    try {
      check(sim, ...crashes);
    } catch (error) {
      throw new Error(`crashes ${JSON.stringify(crashes)}`, { cause: error });
    }
    const lost = sim.document.endedDeliveries.reduce((sum, each) => sum + each.unclear, 0);
    unclear += lost;
  }
  console.info(`proof: ${unclear} parts that nobody knows of`);
}, 840_000);
