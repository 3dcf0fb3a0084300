import { expect, test } from "vitest";
import { requestHeartbeat } from "#gateway/lanes/heartbeat.ts";
import { enqueueEvent } from "#gateway/state/events.ts";
import { enqueue } from "#gateway/state/inputs.ts";
import { isOpen } from "#gateway/state/next.ts";
import { FATES, type Fate, LaneSim } from "#test/support/lane-sim.ts";

const LIMIT = 512 * 1024;
const MESSAGES = ["hello", "use a tool", "again", "use a tool again", "bye"];
const INPUTS = MESSAGES.map((_, index) => `in-${index}`);
const EVENTS = ["rain", "use a tool for it"];
const SOURCE = { channel: "c", chatKey: "1" };

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

async function life(crash?: { at: number; fate: Fate }): Promise<LaneSim> {
  const sim = new LaneSim(crash);
  await sim.start();
  const now = () => sim.clock.now();
  for (const [index, text] of MESSAGES.entries()) {
    const wanted = { id: `in-${index}`, key: `m${index}`, text, threadId: null, source: SOURCE };
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
  const isIdle = () => {
    const { deliveries: _, ...rest } = sim.document;
    return !isOpen({ ...rest, deliveries: [] });
  };
  for (let minute = 0; minute < 400 && !isIdle(); minute += 1) await sim.clock.advance(5000);
  sim.stop();
  return sim;
}

function check({ document, bridge }: LaneSim): void {
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
  const replies = document.deliveries.map(({ id }) => id).toSorted();
  expect(replies).toEqual(INPUTS.map((id) => `out-${id}`));
  // Who is told that it is done was answered by a turn that completed.
  for (const { id, state } of document.ended) {
    const status = bridge.ledger.get(id)?.status;
    expect(state).toBe(status === "completed" ? "done" : status);
  }
  expect(document.heartbeat.requested).toBe(false);
}

test("whoever dies before or after any effect: nothing is lost, nothing happens twice, all is settled", async () => {
  const whole = await life();
  check(whole);
  expect(whole.document.ended.every(({ state }) => state === "done")).toBe(true);
  let points = 0;
  for (let at = 0; at < whole.effects; at += 1) {
    for (const fate of FATES) {
      const sim = await life({ at, fate });
      try {
        check(sim);
      } catch (error) {
        throw new Error(`crash ${fate} at effect ${at}`, { cause: error });
      }
      points += 1;
    }
  }
  expect(points).toBeGreaterThanOrEqual(150);
}, 300_000);
