import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { type FakeTelegram, startTelegram } from "#test/fakes/telegram.ts";
import { connected, pair } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";
import type { Release } from "#test/support/release.ts";
import { startTlsProxy } from "#test/support/tls-proxy.ts";

/** As usual proxies have it. */
const IDLE_SECONDS = 60;

/** An owner in a Telegram that pods reach. */
export interface Chat {
  telegram: FakeTelegram;
  /** Of the chart, so that its bot talks to this Telegram. */
  values: object;
  /** Says something and waits for the answer with these words; answers what the bot said since. */
  ask(text: string, words: string): Promise<string[]>;
}

export async function withTelegram(host: string, use: (chat: Chat) => Promise<void>) {
  const telegram = await startTelegram({ host });
  try {
    const owner = telegram.people.person("Ada");
    const { token, url: apiRoot } = telegram;
    const bot = { enabled: true, token, apiRoot, owners: [String(owner.id)], session: "codex" };
    const texts = () => telegram.sent(owner).map(({ versions }) => versions.at(-1)?.text ?? "");
    const ask = async (text: string, words: string) => {
      const before = texts().length;
      telegram.people.say(owner, text);
      const since = () => texts().slice(before);
      const isThere = () => since().some((each) => each.includes(words));
      await telegram.waitFor(`an answer with ${words}`, isThere, 120_000);
      return since();
    };
    await use({ telegram, values: { telegram: bot }, ask });
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

/** The bot's pod is replaced; what is said meanwhile is answered once. */
export async function whileTheBotIsReplaced(argus: Release, chat: Chat): Promise<void> {
  await argus.ok(["delete", "pod", "-l", "app.kubernetes.io/component=telegram", "--wait=false"]);
  const said = await chat.ask("are you there", "are you there");
  await eventually("the update is confirmed", () => chat.telegram.pending().length === 0);
  expect(said.filter((each) => each.includes("are you there"))).toHaveLength(1);
}
