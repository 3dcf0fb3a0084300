import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AGAIN_MARK } from "#channel/sender.ts";
import type { EndedDelivery } from "#protocol/delivery.ts";
import { type Posted, WebhookReceiver } from "#test/fakes/webhook-receiver.ts";
import { AdapterPeer } from "#test/support/adapter-peer.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { kubectlPath } from "#test/support/kubectl.ts";
import { blocksOf } from "#test/support/page-blocks.ts";
import { proofSize } from "#test/support/proof.ts";
import { proofSeed } from "#test/support/seed.ts";
import { randomSource } from "../bench/relay/random-lines.ts";

const root = join(import.meta.dirname, "..", "..");
const PAGE = "docs/channels.md";
const [RUN = "", ASK = "", DECIDE = ""] = blocksOf(PAGE, "sh");
const [ALLOW = "", SEND = ""] = blocksOf("docs/webhooks.md", "sh");
const SECRET = /ARGUS_WEBHOOK_SECRET='([^']+)'/.exec(RUN)?.[1] ?? "";
const GATEWAY = "argus.mjs gateway";
const ADAPTER = "argus.mjs webhook";

let up: ArgusUp;
let receiver: WebhookReceiver;
let path = "";
const adapter = { isWanted: true, child: undefined as ChildProcess | undefined };
let kept = Promise.resolve();
beforeAll(async () => {
  receiver = await WebhookReceiver.start(SECRET);
  path = [dirname(await kubectlPath()), process.env.PATH].join(delimiter);
  up = await ArgusUp.start();
  kept = keepAdapter();
});
afterAll(async () => {
  adapter.isWanted = false;
  if (up) kill(ADAPTER);
  await kept;
  receiver?.stop();
  await up?.destroy();
});

/** A block of the page, with this test's addresses in place of its examples. */
function shell(block: string): ChildProcess {
  const words = block
    .replace("http://127.0.0.1:8080", up.url)
    .replace("https://receiver.example/argus", receiver.url);
  const env = { PATH: path, HOME: up.data, ARGUS_DATA: up.data, KUBECONFIG: up.kubeconfig };
  return spawn("sh", ["-euc", words], { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
}

async function output(block: string): Promise<string> {
  const child = shell(block);
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
  const [code] = (await once(child, "close")) as [number];
  if (code !== 0) throw new Error(`exit ${code}: ${said}`);
  return said;
}

/** As whatever runs it would: an adapter that ended is started again. */
async function keepAdapter(): Promise<void> {
  while (adapter.isWanted) {
    const child = shell(RUN);
    for (const stream of [child.stdout, child.stderr]) stream?.resume();
    await once(child, "close");
  }
}

function kill(words: string): number {
  const found = up.find(words);
  for (const { pid } of found) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
  return found.length;
}

/** A person's message to a chat; a sender without an answer asks again. Resolves to its id. */
async function say(chatKey: string, text: string, channel = "webhook") {
  return await eventually(`${text.slice(0, 40)} is accepted`, async () => {
    const peer = await AdapterPeer.greet(up.url, up.token, { channel, adapter: "sender" });
    const message = { sessionId: "main", chatKey, key: text.slice(0, 100), text };
    return await peer.input(message).finally(() => peer.close());
  });
}

interface Deliveries {
  deliveries: { id: string; target: { chatKey: string } }[];
  ended: EndedDelivery[];
}

async function deliveries(): Promise<Deliveries> {
  const client = await up.connect({ session: "main" });
  const list = await client.request("argus/delivery/list");
  await client.close();
  return list as unknown as Deliveries;
}

const postsOf = (inputId: string) => receiver.posts.filter(({ body }) => body.inputId === inputId);

test("a message becomes a turn, its answer is posted once with a signature that holds", async () => {
  const { inputId } = await say("first", "hello webhook");
  const [post] = await eventually("the post", () => {
    const posts = postsOf(inputId);
    return posts.length > 0 && posts;
  });
  const facts = { type: "delivery.part", chatKey: "first", sessionId: "main", part: 0, parts: 1 };
  expect(post?.body).toMatchObject({ ...facts, kind: "message", again: false });
  expect(post?.body.text).toContain("hello webhook");
  await eventually("it is over", async () => (await deliveries()).deliveries.length === 0);
  expect(postsOf(inputId)).toHaveLength(1);
  expect(receiver.wrong).toEqual([]);
});

test("a program asks by one request, and its answer is posted", async () => {
  const variables = RUN.split("\n").filter((line) => line.startsWith("export "));
  const asked = JSON.parse(await output([...variables, ASK].join("\n")));
  const { inputId } = asked.result as { inputId: string };
  const [post] = await eventually("the post", () => {
    const posts = postsOf(inputId);
    return posts.length > 0 && posts;
  });
  expect(post?.body).toMatchObject({ channel: "webhook", chatKey: "billing" });
});

test("what is given up or waits is shown, sent again and dropped by the page's commands", async () => {
  receiver.statuses.set("gone", 410);
  const { inputId } = await say("gone", "to nobody");
  await say("later", "to no adapter", "pager");
  const both = await eventually("one is dead, one waits", async () => {
    const { deliveries: open, ended } = await deliveries();
    const dead = ended.find(({ state }) => state === "dead");
    const waiting = open.find(({ target }) => target.chatKey === "later");
    return dead && waiting && { dead: dead.id, waiting: waiting.id };
  });
  receiver.statuses.delete("gone");
  const said = await output(DECIDE.replace("out-1", both.dead).replace("out-2", both.waiting));
  expect(said).toMatch(/gone +dead .*the receiver answered 410: gone/);
  expect(said).toMatch(/later +waiting .*no adapter of channel pager has taken it yet/);
  await eventually("the dead one was posted", () => postsOf(inputId).length === 1);
  await eventually("nothing is open", async () => (await deliveries()).deliveries.length === 0);
});

test("a program's webhook, signed as the page says, is told in a turn once", async () => {
  await output(ALLOW);
  const sent = await eventually("the gateway knows the webhook", () => output(SEND));
  expect(JSON.parse(sent)).toEqual({ ok: true, sessionId: "main", state: "queued" });
  expect(JSON.parse(await output(SEND))).toMatchObject({ state: "duplicate" });
  const client = await up.connect({ session: "main" });
  const event = await eventually("its turn", async () => {
    const { events } = await client.request("argus/event/list", { limit: 10 });
    const [newest] = events as { key: string; state: string }[];
    return newest?.state === "Succeeded" && newest;
  });
  expect(event.key).toBe("webhook/ci/build-17");
  await client.close();
});

/** Some answers have several parts. */
const PADDING = " and so on".repeat(4000);
const wordOf = (index: number) => `word ${index}${index % 3 === 0 ? PADDING : ""}`;

/**
 * Every part arrived, at most once without and once with the mark; together they are the answer. Only a part whose both tries were
 * cut may be missing, and then the record says that it is unclear. Returns how many are.
 */
function checkPosts(posts: readonly Posted[], word: string, unclear: number): number {
  const name = word.slice(0, 10);
  const parts = Map.groupBy(posts, ({ body }) => body.part);
  const missing = (posts[0]?.body.parts ?? 1) - parts.size;
  expect(missing, `missing parts of ${name}`).toBeLessThanOrEqual(unclear);
  const texts = [...parts]
    .toSorted(([a], [b]) => a - b)
    .map(([, tries]) => {
      const again = tries.filter(({ body }) => body.again);
      expect(tries.length - again.length, `unmarked tries of ${name}`).toBeLessThanOrEqual(1);
      expect(again.length, `marked tries of ${name}`).toBeLessThanOrEqual(1);
      for (const { body } of again) expect(body.text.startsWith(`${AGAIN_MARK} `)).toBe(true);
      const plain = tries.map(({ id, body }) => [id, body.text.replace(`${AGAIN_MARK} `, "")]);
      expect(new Set(plain.map(String)).size).toBe(1);
      return plain[0]?.[1];
    });
  if (missing === 0) expect(texts.join("")).toContain(word);
  return missing;
}

type Moment = "accepted" | "posted" | "answered";
interface Plan {
  victim: string;
  moment: Moment;
  /** After the moment. */
  delayMs: number;
}

/** At random, but for the first: a request that got no answer. */
function plansOf(count: number, random: () => number): (Plan | undefined)[] {
  const pick = <T>(of: readonly T[]) => of[Math.floor(random() * of.length)] as T;
  // Each death of the gateway doubles the pause before its next start.
  let gateways = count / 6;
  const first = { victim: ADAPTER, moment: "posted", delayMs: 0 } as const;
  const rest = Array.from({ length: count - 1 }, () => {
    const wanted = pick([GATEWAY, ADAPTER, ADAPTER, undefined]);
    if (wanted === undefined) return undefined;
    const victim = wanted === GATEWAY && gateways-- <= 0 ? ADAPTER : wanted;
    const moment = pick<Moment>(["accepted", "posted", "answered"]);
    return { victim, moment, delayMs: pick([0, 0, 1, 5, random() * 600]) };
  });
  return [first, ...rest];
}

/** Kills at the plan's moment of this chat's next message; resolves when it has happened. */
function killAt({ victim, moment, delayMs }: Plan, chatKey: string) {
  const done = Promise.withResolvers<void>();
  const strike = () => {
    kill(victim);
    done.resolve();
  };
  const isMine = ({ body }: Posted) => body.chatKey === chatKey;
  receiver.onRequest = async (posted) => {
    if (moment !== "posted" || !isMine(posted)) return;
    receiver.onRequest = async () => undefined;
    if (delayMs === 0) return strike();
    // The answer leaves meanwhile.
    setTimeout(strike, delayMs);
  };
  receiver.onAnswered = (posted) => {
    if (moment !== "answered" || !isMine(posted)) return;
    receiver.onAnswered = () => undefined;
    setTimeout(strike, delayMs);
  };
  const accepted = () => {
    if (moment === "accepted") setTimeout(strike, delayMs);
  };
  return { accepted, done: done.promise };
}

test("gateway and adapter killed at random moments: every answer arrives, twice only with the mark", async () => {
  const random = randomSource(proofSeed());
  const plans = plansOf(proofSize(12, 90), random);
  const ids: string[] = [];
  for (const [index, plan] of plans.entries()) {
    const chatKey = `chat-${index}`;
    const strike = plan && killAt(plan, chatKey);
    ids.push((await say(chatKey, wordOf(index))).inputId);
    strike?.accepted();
    await strike?.done;
  }
  for (const [index, id] of ids.entries())
    expect(await say(`chat-${index}`, wordOf(index))).toMatchObject({
      inputId: id,
      repeated: true,
    });
  const isOver = async () => (await deliveries()).deliveries.length === 0;
  await eventually("nothing is open", isOver, 300_000);
  const { ended } = await deliveries();
  const kills = plans.filter((plan) => plan !== undefined).length;
  let missing = 0;
  for (const [index, id] of ids.entries()) {
    const end = ended.filter(({ inputId }) => inputId === id);
    expect(end, `ends of word ${index}`).toHaveLength(1);
    const { state, unclear = 0 } = end[0] ?? {};
    expect(state).toBe(unclear > 0 ? "ambiguous" : "delivered");
    missing += checkPosts(postsOf(id), wordOf(index), unclear);
  }
  expect(receiver.wrong).toEqual([]);
  const [first, second] = postsOf(ids[0] ?? "");
  expect([first?.body.again, second?.body.again, second?.id]).toEqual([false, true, first?.id]);
  const marked = ids.flatMap(postsOf).filter(({ body }) => body.again).length;
  const words = `${marked} parts sent again with the mark, ${missing} cut twice and told as unclear`;
  console.info(`proof: ${ids.length} messages, ${kills} kills: ${words}`);
  expect(missing).toBeLessThanOrEqual(1 + kills / 8);
}, 840_000);
