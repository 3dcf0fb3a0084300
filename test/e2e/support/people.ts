import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { FakeModel } from "#test/fakes/model.ts";
import { type FakeTelegram, type Person, startTelegram } from "#test/fakes/telegram.ts";
import { connected, pair } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { freePort } from "#test/support/free-port.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";
import type { Release } from "#test/support/release.ts";
import { startTlsProxy } from "#test/support/tls-proxy.ts";

/** As usual proxies have it. */
const IDLE_SECONDS = 60;

/** An owner in a Telegram that pods reach. */
export interface Chat {
  telegram: FakeTelegram;
  owner: Person;
  /** Of the chart, so that its bot talks to this Telegram. */
  values: { telegram: object; sessions: object };
  /** Says something and waits for the answer with these words; answers what the bot said since. */
  ask(text: string, words: string): Promise<string[]>;
}

export async function withTelegram(host: string, use: (chat: Chat) => Promise<void>) {
  const telegram = await startTelegram({ host });
  try {
    const owner = telegram.people.person("Ada");
    const { token, url: apiRoot } = telegram;
    const who = { owners: [String(owner.id)], session: "codex" };
    const bot = { enabled: true, replicas: 2, token, apiRoot, ...who };
    // The words of a voice message here are its bytes.
    const sessions = { transcribe: `tr a-z A-Z < "$1"` };
    const texts = () => telegram.sent(owner).map(({ versions }) => versions.at(-1)?.text ?? "");
    const ask = async (text: string, words: string) => {
      const before = texts().length;
      telegram.people.say(owner, text);
      const since = () => texts().slice(before);
      const isThere = () => since().some((each) => each.includes(words));
      await telegram.waitFor(`an answer with ${words}`, isThere, 120_000);
      return since();
    };
    await use({ telegram, owner, values: { telegram: bot, sessions }, ask });
  } finally {
    await telegram.stop();
  }
}

/** The gateway's Service, which this machine reaches as pods do. */
export async function serviceUrl(argus: Release): Promise<string> {
  const { spec } = await argus.get<{ spec: { clusterIP: string; ports: { port: number }[] } }>(
    "service/argus-gateway",
  );
  return `http://${spec.clusterIP}:${spec.ports[0]?.port}`;
}

/** A device that joins from outside, through TLS in front of the gateway's Service, for as long as `use` runs. */
export async function withDevice<T>(
  argus: Release,
  { nodeId, session, token }: { nodeId: string; session: string; token: string },
  use: (host: NodeHostProcess) => Promise<T>,
): Promise<T> {
  const url = await serviceUrl(argus);
  const inside = url.replace("http://", "");
  const folder = await mkdtemp(join(tmpdir(), "argus-ingress-"));
  const proxy = await startTlsProxy(folder, { target: inside, idleSeconds: IDLE_SECONDS });
  const host = await NodeHostProcess.make();
  try {
    const gateway = { url, token };
    await pair(gateway, host, { nodeId, session, url: proxy.url, env: proxy.env });
    host.start(["run"], proxy.env);
    await connected(gateway, nodeId, session);
    return await use(host);
  } finally {
    await host.remove();
    proxy.stop();
    await rm(folder, { recursive: true });
  }
}

/** Both bots' pods are replaced, one after the other; what is said meanwhile is answered once, and the holder of the Lease is a new one. */
export async function whileTheBotsAreReplaced(argus: Release, chat: Chat): Promise<void> {
  const holder = ["get", "lease", "argus-telegram", "-o", "jsonpath={.spec.holderIdentity}"];
  const before = await argus.ok(holder);
  expect(before).toMatch(/^argus-telegram-/);
  await argus.ok(["rollout", "restart", "deployment/argus-telegram"]);
  const said = await chat.ask("are you there", "are you there");
  await argus.ok(["rollout", "status", "deployment/argus-telegram", "--timeout=90s"]);
  const later = await chat.ask("and now", "and now");
  await eventually("the update is confirmed", () => chat.telegram.pending().length === 0);
  expect(said.filter((each) => each.includes("are you there"))).toHaveLength(1);
  expect(later.filter((each) => each.includes("and now"))).toHaveLength(1);
  expect(await argus.ok(holder)).not.toBe(before);
}

/** A document and a voice message come in, a command waits for a press of a button, and the file that it made comes out. */
export async function filesAndButtons(chat: Chat, model: FakeModel): Promise<void> {
  const { telegram, owner } = chat;
  const heard = (words: RegExp) =>
    telegram.waitFor(
      String(words),
      () => telegram.sent(owner).find(({ versions }) => words.test(versions.at(-1)?.text ?? "")),
      60_000,
    );
  const bytes = Buffer.from("a word from far\n");
  telegram.people.send(owner, { kind: "document", name: "note.txt", bytes, caption: "keep this" });
  await heard(/keep this[^]*1-note\.txt/);
  const voice = { kind: "voice", bytes: Buffer.from("lights on"), mime: "audio/ogg" } as const;
  telegram.people.send(owner, voice);
  const isHeard = () =>
    model.requests.some(({ body }) => JSON.stringify(body).includes("> LIGHTS ON"));
  await eventually("the voice is heard", isHeard, 60_000);
  telegram.people.say(owner, "run: cat inbox/*/1-note.txt > made.txt; cat made.txt");
  await telegram.people.press(await heard(/May I run this command/), "Allow", owner);
  await heard(/The command said:[^]*a word from far/);
  telegram.people.say(owner, "here it is\nMEDIA: made.txt");
  const isFile = () => telegram.sent(owner).find(({ kind }) => kind === "document");
  const { body } = await telegram.waitFor("the file", isFile, 60_000);
  const { file_id: id } = body["document"] as { file_id: string };
  expect(telegram.file(id)).toEqual(bytes);
}

/** From now on Telegram posts, by TLS in front of the bot's Service; then the bot asks again. */
export async function byWebhook(
  argus: Release,
  chat: Chat,
  upgrade: (telegram: object) => Promise<void>,
): Promise<void> {
  const { telegram } = chat;
  const port = await freePort();
  const webhook = `https://localhost:${port}/hook`;
  await upgrade({ ...chat.values.telegram, replicas: 1, webhook });
  const { spec } = await argus.get<{ spec: { clusterIP: string } }>("service/argus-telegram");
  const folder = await mkdtemp(join(tmpdir(), "argus-webhook-"));
  const target = `${spec.clusterIP}:8083`;
  const proxy = await startTlsProxy(folder, { target, port, idleSeconds: IDLE_SECONDS });
  try {
    telegram.trust(proxy.ca);
    const polls = () => telegram.calls.filter(({ method }) => method === "getUpdates").length;
    const before = polls();
    await chat.ask("posted by Telegram", "posted by Telegram");
    await eventually("the update is confirmed", () => telegram.pending().length === 0);
    expect(polls()).toBe(before);
  } finally {
    proxy.stop();
    await rm(folder, { recursive: true });
  }
  await upgrade(chat.values.telegram);
  await chat.ask("asked for again", "asked for again");
  // They take turns by the Lease: none was thrown out by another.
  const counts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
  const bots = ["get", "pods", "-l", "app.kubernetes.io/component=telegram", "-o", counts];
  expect(new Set((await argus.ok(bots)).split(" "))).toEqual(new Set(["0"]));
}
