import { expect } from "vitest";
import type { EventRow } from "#gateway/event-view.ts";
import type { EndedDelivery } from "#protocol/delivery.ts";
import { type EndedInput, MAX_EVENT_RETRIES } from "#protocol/lane-entry.ts";
import type { Storm } from "./storm.ts";

/** How often each end came, of all sessions. */
export interface Verdict {
  messages: Record<string, number>;
  events: Record<string, number>;
  slots: Record<string, number>;
  missedSlots: number;
  /** Posted by a controller that died before it could write so; its successor counted them as missed. */
  wronglyMissed: number;
  heartbeats: number;
  parts: number;
  markedParts: number;
}

const count = (keys: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
};

const total = (all: readonly Record<string, number>[]): Record<string, number> =>
  count(
    all.flatMap((each) => Object.entries(each).flatMap(([key, n]) => Array<string>(n).fill(key))),
  );

/** Codex's turns whose prompt tells this. */
function turnsOf({ model }: Storm, words: string): string[] {
  const asked = model.requests.filter(({ prompt }) => prompt.includes(words));
  return [...new Set(asked.map(({ turnId }) => turnId))];
}

/** Demands of a calm storm that everything accepted ended once, ran once and was told once. `everySeconds`: of its schedules. */
export async function judgeStorm(storm: Storm, everySeconds: number): Promise<Verdict> {
  const messages: Record<string, number>[] = [];
  const events: Record<string, number>[] = [];
  const slots: Record<string, number>[] = [];
  let [missedSlots, wronglyMissed] = [0, 0];
  for (const name of storm.names) {
    messages.push(await judgeMessages(storm, name));
    const { events: listed } = await storm.call(name, "event/list", { limit: 1000 });
    const rows = listed as EventRow[];
    events.push(judgeEvents(storm, name, rows));
    const judged = await judgeSlots(storm, { name, rows, everySeconds });
    slots.push(count(judged.states));
    missedSlots += judged.missed;
    wronglyMissed += judged.wronglyMissed;
  }
  const marked = judgeShown(storm);
  const heartbeats = turnsOf(storm, "Heartbeat response contract:").length;
  const parts = { parts: storm.shown.length, markedParts: marked };
  return {
    messages: total(messages),
    events: total(events),
    slots: total(slots),
    missedSlots,
    wronglyMissed,
    heartbeats,
    ...parts,
  };
}

async function judgeMessages(storm: Storm, name: string): Promise<Record<string, number>> {
  const sent = storm.messages.filter(({ session }) => session === name);
  const { ended } = await storm.call(name, "input/list");
  const ends = (ended as EndedInput[]).filter(({ id }) =>
    sent.some(({ inputId }) => inputId === id),
  );
  // One end for each, in the order in which they were accepted.
  expect(ends.map(({ id }) => id)).toEqual(sent.map(({ inputId }) => inputId));
  const list = await storm.call(name, "delivery/list");
  for (const { inputId, word } of sent) {
    const end = ends.find(({ id }) => id === inputId);
    const turns = turnsOf(storm, word);
    expect(turns.length, `turns of ${word} in ${name} (${turns.join(", ")})`).toBeLessThanOrEqual(
      1,
    );
    if (end?.state === "done") expect(turns, `${word} ran`).toHaveLength(1);
    else expect(end?.reason, `why ${word} is ${end?.state}`).not.toBe("");
    const told = (list["ended"] as EndedDelivery[]).filter((each) => each.inputId === inputId);
    expect(told, `deliveries of ${word}`).toHaveLength(1);
    expect(told[0]?.state, told[0]?.reason).toBe("delivered");
  }
  return count(ends.map(({ state }) => state));
}

function judgeEvents(
  storm: Storm,
  name: string,
  rows: readonly EventRow[],
): Record<string, number> {
  const states: string[] = [];
  for (const { key, word } of storm.events.filter(({ session }) => session === name)) {
    const [row, ...more] = rows.filter((each) => each.key === key);
    expect(more, `ends of ${key}`).toEqual([]);
    expect(["Succeeded", "DeadLettered"], `${key} in ${name}`).toContain(row?.state);
    if (row?.state === "DeadLettered") expect(row.reason).not.toBe("");
    const turns = turnsOf(storm, word);
    expect(turns.length, `turns of ${key}`).toBeLessThanOrEqual(1 + MAX_EVENT_RETRIES);
    if (row?.state === "Succeeded") expect(turns.length, `${key} ran`).toBeGreaterThan(0);
    states.push(row?.state ?? "");
  }
  return count(states);
}

interface CronStatus {
  lastScheduleTime: string;
  scheduleRevisionTime: string;
  missedSchedules?: number;
}

/** Each slot since the schedule was made is an event of its own, or counted as missed: none is silent. */
async function judgeSlots(
  { up }: Storm,
  { name, rows, everySeconds }: { name: string; rows: readonly EventRow[]; everySeconds: number },
) {
  const cron = JSON.parse(await up.kubectl(["get", "acron", name, "-o", "json"])) as {
    metadata: { uid: string };
    status: CronStatus;
  };
  const { lastScheduleTime, scheduleRevisionTime, missedSchedules: missed = 0 } = cron.status;
  const own = rows.filter(({ key }) => key.startsWith(cron.metadata.uid));
  expect(new Set(own.map(({ slot }) => slot)).size, `slots of ${name}`).toBe(own.length);
  const number = (time: string) => Math.floor(Date.parse(time) / 1000 / everySeconds);
  const came = number(lastScheduleTime) - number(scheduleRevisionTime);
  // A controller that died between a post and its status, whose schedule was suspended then, decides at its resumption.
  const decided = own.filter(({ slot = "" }) => slot <= lastScheduleTime);
  expect(own.length - decided.length).toBeLessThanOrEqual(1);
  const slots = own.map(({ slot }) => slot).join(", ");
  const since = `${scheduleRevisionTime} until ${lastScheduleTime}`;
  const wronglyMissed = decided.length + missed - came;
  expect(wronglyMissed, `slots of ${name} since ${since}: ${slots}`).toBeGreaterThanOrEqual(0);
  const states = own.map(({ state }) => state);
  expect(states.every((state) => ["Succeeded", "DeadLettered"].includes(state))).toBe(true);
  return { states, missed, wronglyMissed };
}

/** Each part was shown once, and once more only with the mark. Answers how many were. */
function judgeShown({ shown, messages }: Storm): number {
  const parts = Map.groupBy(shown, ({ deliveryId, part }) => `${deliveryId}.${part}`);
  for (const [part, tries] of parts) {
    const plain = tries.filter(({ isMarked }) => !isMarked);
    expect(plain.length, `${part} without the mark`).toBeLessThanOrEqual(1);
    expect(tries.length - plain.length, `${part} with the mark`).toBeLessThanOrEqual(1);
  }
  for (const { inputId, chatKey, word } of messages) {
    const mine = shown.filter((each) => each.inputId === inputId);
    expect(new Set(mine.map(({ deliveryId }) => deliveryId)).size, `answers to ${word}`).toBe(1);
    expect(mine.every((each) => each.chatKey === chatKey)).toBe(true);
  }
  return shown.filter(({ isMarked }) => isMarked).length;
}
