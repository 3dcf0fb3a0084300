import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Clock, systemClock } from "#lib/clock.ts";
import type { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { type FakeTelegram, type Person, startTelegram } from "#test/fakes/telegram.ts";
import type { BenchOptions } from "../bench.ts";
import { ForeignCpu, figure, quantile } from "../controller/figures.ts";
import { argus, startGatewayCandidate } from "../relay/gateway.ts";
import { start } from "../relay/process.ts";
import { environment, table } from "../relay/report.ts";
import { startBridge } from "./one-bridge.ts";

const SESSION = "bench";
const TOKEN = "admin-token-of-the-benchmark";
const SECOND_MS = 1000;
/** One message a second to one chat is more than Telegram allows for long. */
const PEOPLE = 8;
const MESSAGES = 60;
const EDITS = 5;
/** After the status message, so that Telegram's rate for the chat holds nothing up. */
const CALM_MS = 2500;

/** Fractions of a millisecond count here. */
const clock: Clock = { ...systemClock, now: () => performance.timeOrigin + performance.now() };

interface World {
  telegram: FakeTelegram;
  people: Person[];
  lane: LaneBridge;
  /** The plain bot's own. */
  plain: FakeTelegram;
  plainPeople: Person[];
  count: number;
}

/**
 * What gateway and bot add to an answer: from `turn/completed` leaving the bridge until the request arrives at Telegram, beside a bare
 * grammY bot that repeats what it gets, from update to send, in turn, one message a second.
 */
export async function benchTelegram({ quick, repetitions }: BenchOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "argus-bench-telegram-"));
  const stops: (() => Promise<void>)[] = [() => rm(folder, { recursive: true, force: true })];
  try {
    const world = await startWorld(folder, stops);
    const rounds = quick ? 5 : MESSAGES * repetitions;
    await measured(world, 3);
    const foreign = new ForeignCpu();
    const { ours, theirs } = await measured(world, rounds);
    const share = foreign.share();
    const edits: number[] = [];
    for (let round = 0; round < (quick ? 1 : EDITS * repetitions); round += 1) {
      edits.push(await editMs(world));
    }
    return `${await environment()}\n\n${table(rowsOf({ ours, theirs, edits }, share))}`;
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

async function startWorld(folder: string, stops: (() => Promise<void>)[]): Promise<World> {
  const gateway = await startGatewayCandidate(folder);
  stops.push(() => gateway.stop());
  const { front, listen = "", hello = "{}" } = (await gateway.settings()) as Record<string, string>;
  const { lane, stop } = await startBridge(listen, JSON.parse(hello));
  stops.push(stop);
  const [telegram, plain] = [await startTelegram({ clock }), await startTelegram({ clock })];
  stops.push(
    () => telegram.stop(),
    () => plain.stop(),
  );
  const crowd = ({ people }: FakeTelegram) =>
    Array.from({ length: PEOPLE }, (_, index) => people.person(`P${index}`));
  const people = crowd(telegram);
  const bot = await start({
    command: await argus("telegram", join(folder, "bot")),
    env: {
      ARGUS_GATEWAY_URL: `http://${front}`,
      ARGUS_TOKEN: TOKEN,
      ARGUS_TELEGRAM_TOKEN: telegram.token,
      ARGUS_TELEGRAM_API: telegram.url,
      ARGUS_TELEGRAM_OWNERS: people.map(({ id }) => id).join(","),
      ARGUS_TELEGRAM_SESSION: SESSION,
    },
  });
  stops.push(() => bot.stop());
  const script = join(import.meta.dirname, "echo-bot.ts");
  const echo = await start({ command: [process.execPath, script, plain.token, plain.url] });
  stops.push(() => echo.stop());
  await Promise.all(
    [telegram, plain].map((each) => each.waitFor("a poll", () => each.polled(), 60_000)),
  );
  return { telegram, people, lane, plain, plainPeople: crowd(plain), count: 0 };
}

/** One message to each in turn. */
async function measured(world: World, rounds: number) {
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    ours.push(await answerMs(world));
    await delay(SECOND_MS / 2);
    theirs.push(await echoMs(world));
    await delay(SECOND_MS / 2);
  }
  return { ours, theirs };
}

async function answerMs(world: World): Promise<number> {
  const { telegram, lane } = world;
  const { who, word } = next(world, world.people);
  const turn = started(lane);
  telegram.people.say(who, word);
  const { id, turn: turnId } = await turn;
  return await endMs(world, { id, turnId, word });
}

/** The turn's answer leaves the bridge now; how long until Telegram gets it, ms. */
async function endMs(
  { telegram, lane }: World,
  { id, turnId, word }: { id: string; turnId: string; word: string },
): Promise<number> {
  const item = { type: "agentMessage", id: `i-${id}`, text: `answer to ${word}` };
  lane.say("item/completed", { turnId, item });
  const from = clock.now();
  lane.end(id);
  return (await arrival(telegram, `answer to ${word}`)) - from;
}

async function echoMs(world: World): Promise<number> {
  const { plain, plainPeople } = world;
  const { who, word } = next(world, plainPeople);
  const from = clock.now();
  plain.people.say(who, word);
  return (await arrival(plain, word)) - from;
}

/** The turn is shown by a status message, whose place the answer takes. */
async function editMs(world: World): Promise<number> {
  const { telegram, lane } = world;
  const { who, word } = next(world, world.people);
  const turn = started(lane);
  telegram.people.say(who, word);
  const { id, turn: turnId } = await turn;
  const isShown = () =>
    telegram.sent(who).some(({ versions }) => versions.at(-1)?.text.startsWith("⏳"));
  await telegram.waitFor("the status message", isShown, 60_000);
  await delay(CALM_MS);
  return await endMs(world, { id, turnId, word });
}

function next(world: World, people: readonly Person[]): { who: Person; word: string } {
  world.count += 1;
  return { who: people[world.count % people.length] as Person, word: `message-${world.count}.` };
}

function started(lane: LaneBridge): Promise<{ id: string; turn: string }> {
  return new Promise((resolve) => {
    lane.onStarted = resolve;
  });
}

/** When the request with this text came. */
async function arrival(telegram: FakeTelegram, text: string): Promise<number> {
  const found = await telegram.waitFor(text, () =>
    telegram.calls.findLast(({ params }) => String(params.text).includes(text)),
  );
  return found.atMs;
}

function rowsOf(
  { ours, theirs, edits }: { ours: number[]; theirs: number[]; edits: number[] },
  foreign: number,
) {
  const ms = (goal: string, what: string, values: number[], atMost?: number) =>
    figure({ goal, what, unit: " ms", ...(atMost ? { atMost } : {}) }, values, [foreign]);
  const added = (values: number[], share: number) => [
    quantile(values, share) - quantile(theirs, share),
  ];
  return [
    ms("–", "bare grammY bot: update to its sendMessage", theirs),
    ms("–", "turn/completed leaves the bridge to sendMessage", ours),
    ms("T1", `added, p50 of ${ours.length}`, added(ours, 0.5), 20),
    ms("–", `added, p99 of ${ours.length}`, added(ours, 0.99)),
    ms("–", "turn/completed to editMessageText of the status message", edits),
    ms("T1", `added where a status message stands, p50 of ${edits.length}`, added(edits, 0.5), 20),
  ];
}
