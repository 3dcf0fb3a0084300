import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { proofSize } from "#test/support/proof.ts";
import { proofSeed } from "#test/support/seed.ts";
import { textOf, UpSessions } from "#test/support/up-sessions.ts";
import { randomSource } from "../bench/relay/random-lines.ts";

let up: ArgusUp;
let sessions: UpSessions;
beforeAll(async () => {
  up = await ArgusUp.start();
  sessions = new UpSessions(up);
});
afterAll(async () => {
  await up?.destroy();
});

const NAMES = ["ann", "ben", "cid"];
/** More often = more often taken. */
const STEPS = [
  ...Array<"send">(12).fill("send"),
  "park",
  "wake",
  "recreate",
  "kill gateway",
  "kill controller",
  "kill bridge",
] as const;

/** What one session object was given since it was made. */
interface Life {
  name: string;
  accepted: string[];
  isParked: boolean;
  /** Its messages, one after the other; whatever else happens does not wait for them. */
  sending: Promise<void>;
}

const mode = (name: string, operatingMode: string) =>
  up.kubectl([
    "patch",
    "argussession",
    name,
    "--type=merge",
    "-p",
    JSON.stringify({ spec: { operatingMode } }),
  ]);

/** Nothing of the old one may show in the new one, and nothing of the new one may be lost. */
async function recreate(name: string): Promise<Life> {
  const uid = await sessions.uid(name);
  if (uid) await up.kubectl(["delete", "argussession", name, "--wait=false"]);
  await eventually("the old one is gone", async () => (await sessions.uid(name)) === "", 120_000);
  await sessions.apply(name);
  // Nobody writes to the name before its new object is seen.
  const fresh = await sessions.uid(name);
  expect(fresh).not.toBe(uid);
  return { name, accepted: [], isParked: false, sending: Promise.resolve() };
}

function send(life: Life, key: string): void {
  life.sending = life.sending.then(async () => {
    await sessions.send(life.name, key);
    life.accepted.push(key);
  });
  // Looked at when somebody waits for it.
  life.sending.catch(() => {});
}

/** Accepted = ended once, run at most once, run if it is said to be done, in order. */
async function judge({ name, accepted }: Life): Promise<{ done: number; told: number }> {
  if (accepted.length === 0) return { done: 0, told: 0 };
  const { ended } = await eventually(
    `everything in ${name} has ended`,
    async () => {
      const lists = await sessions.lists(name);
      return lists.inputs.length === 0 && lists;
    },
    240_000,
  );
  expect(ended.map(({ key }) => key)).toEqual(accepted);
  const ran = await sessions.said(name);
  const isDone = (text: string) =>
    ended.some(({ key, state }) => textOf(key) === text && state === "done");
  const known = accepted.map(textOf);
  expect(ran.filter((text) => !known.includes(text))).toEqual([]);
  expect(ran).toEqual(known.filter((text) => ran.includes(text)));
  expect(known.filter((text) => isDone(text) && !ran.includes(text))).toEqual([]);
  const done = ended.filter(({ state }) => state === "done").length;
  return { done, told: ended.length - done };
}

test("messages, parking, deletion and kills in any order: nothing accepted is lost, nothing happens twice", {
  timeout: 900_000,
}, async () => {
  const random = randomSource(proofSeed());
  const size = proofSize(60, 600);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const lives = new Map<string, Life>();
  for (const name of NAMES) lives.set(name, await recreate(name));
  const counts: Record<string, number> = {};
  for (let step = 0; step < size; step += 1) {
    const life = lives.get(pick(NAMES)) as Life;
    const { name } = life;
    const what = pick(STEPS);
    counts[what] = (counts[what] ?? 0) + 1;
    if (what === "send") {
      send(life, `${name}-${step}`);
    } else if (what === "recreate") {
      await life.sending;
      lives.set(name, await recreate(name));
    } else if (what === "park" || what === "wake") {
      await mode(name, what === "park" ? "Suspended" : "Running");
      life.isParked = what === "park";
    } else sessions.killed(what.slice("kill ".length));
    if (random() < 0.3) await delay(random() * 1500);
  }
  for (const { sending } of lives.values()) await sending;
  for (const { name, isParked } of lives.values()) if (isParked) await mode(name, "Running");
  const results: { done: number; told: number }[] = [];
  for (const life of lives.values()) results.push(await judge(life));
  const sum = (field: "done" | "told") => results.reduce((all, each) => all + each[field], 0);
  // Most of them are left alone long enough to be answered.
  expect(sum("done")).toBeGreaterThan(0);
  console.info(
    `proof: ${JSON.stringify(counts)}: ${sum("done")} done, ${sum("told")} told as not done`,
  );
});
