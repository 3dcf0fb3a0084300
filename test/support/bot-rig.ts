import { startBot } from "#bot/bot.ts";
import type { BotOptions } from "#bot/options.ts";
import { silentLogger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import {
  type FakeTelegram,
  type Group,
  type Person,
  type Stored,
  startTelegram,
} from "#test/fakes/telegram.ts";
import { ADMIN, GatewayRig } from "./gateway.ts";

type Chat = Person | Group | { id: number };

/** The real bot and the real gateway between a Telegram and a bridge that the test plays. */
export class BotRig {
  readonly telegram: FakeTelegram;
  readonly gateway: GatewayRig;
  /** By session. */
  readonly bridges = new Map<string, LaneBridge>();
  readonly ada: Person;
  readonly #options: Partial<BotOptions>;
  #stop = new AbortController();
  bot: Running | undefined;

  /** Ada is the owner; her session is `main`. */
  static async start(options: Partial<BotOptions> = {}): Promise<BotRig> {
    const rig = new BotRig(await startTelegram(), await GatewayRig.start(), options);
    await rig.addSession("main");
    await rig.startBot();
    return rig;
  }

  private constructor(telegram: FakeTelegram, gateway: GatewayRig, options: Partial<BotOptions>) {
    this.telegram = telegram;
    this.gateway = gateway;
    this.#options = options;
    this.ada = telegram.people.person("Ada");
  }

  /** A session whose turns end at once with an answer; one about `wait` does not, one about `fail` fails. */
  async addSession(name: string): Promise<LaneBridge> {
    const bridge = new LaneBridge();
    this.bridges.set(name, bridge);
    this.gateway.putSession(name);
    await this.gateway.putPod(name, bridge.onPeer);
    bridge.onStarted = ({ id, text, turn }) => {
      if (text.includes("wait")) return;
      const item = { type: "agentMessage", id: `m-${turn}`, text: `did ${text}` };
      bridge.say("item/completed", { turnId: turn, item });
      const error = text.includes("fail") ? { message: "no credit" } : undefined;
      bridge.end(id, error ? "failed" : "completed", error);
    };
    return bridge;
  }

  async startBot(change: Partial<BotOptions> = {}): Promise<void> {
    this.#stop = new AbortController();
    const options: BotOptions = {
      gatewayUrl: this.gateway.url,
      gatewayToken: async () => ADMIN,
      botToken: this.telegram.token,
      apiRoot: this.telegram.url,
      owners: [String(this.ada.id)],
      members: [],
      mainSession: "main",
      parallel: 8,
      listen: undefined,
      webhook: undefined,
      lease: undefined,
      logger: silentLogger(),
      ...this.#options,
      ...change,
    };
    this.bot = await startBot(options, this.#stop.signal);
    this.bot.closed.catch(() => undefined);
  }

  async stopBot(): Promise<void> {
    // As a process's own signal does.
    this.#stop.abort(new Error("stopped by SIGTERM"));
    await this.bot?.closed.catch(() => undefined);
  }

  async stop(): Promise<void> {
    await this.stopBot();
    await this.gateway.stop();
    await this.telegram.stop();
  }

  texts(where: Chat): string[] {
    return this.telegram.sent(where).map(textOf);
  }

  /** The first message of the bot in that chat, after `after`, whose words match. */
  heard(where: Chat, words: RegExp, after = 0, timeoutMs = 60_000): Promise<Stored> {
    const isIt = (each: Stored) => each.id > after && words.test(textOf(each));
    const look = () => this.telegram.sent(where).find(isIt);
    return this.telegram.waitFor(`${words} in ${where.id}`, look, timeoutMs);
  }
}

export const textOf = ({ versions }: Stored): string => versions.at(-1)?.text ?? "";
