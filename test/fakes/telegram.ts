import { parseArgs } from "node:util";
import { type Clock, systemClock } from "#lib/clock.ts";
import type { Telegram } from "./telegram/call.ts";
import { Faults } from "./telegram/faults.ts";
import { Files } from "./telegram/files.ts";
import { type LimitOptions, Limits, TELEGRAM_RATES } from "./telegram/limits.ts";
import { People } from "./telegram/people.ts";
import { type ApiCall, BotApiServer } from "./telegram/server.ts";
import { Updates } from "./telegram/updates.ts";
import { type Json, type Stored, type User, World } from "./telegram/world.ts";

export type { FaultRule } from "./telegram/faults.ts";
export type { Group, Person } from "./telegram/people.ts";
export type { Stored } from "./telegram/world.ts";

export interface TelegramOptions {
  /** For rates, expiry and dates; the system's when absent. */
  clock?: Clock;
  /** Of faults by chance. */
  seed?: number;
  /** `<bot id>:<secret>`. */
  token?: string;
  /** Path before `/bot<token>`, such as `/telegram`. */
  root?: string;
  /** Address to listen at; loopback when absent. */
  host?: string;
  /** 0 or absent = any free port. */
  port?: number;
  rates?: Partial<LimitOptions>;
  bot?: Partial<User> & Json;
}

/** A Telegram of its own: speaks the Bot API to a bot, and lets a test be the people and look at what they see. */
export interface FakeTelegram {
  /** API root for the bot. */
  url: string;
  token: string;
  bot: User;
  people: People;
  faults: Faults;
  /** What the rates refused. */
  refused: Limits["refused"];
  /** Requests in order of arrival. */
  calls: ApiCall[];
  /** Updates that the bot has not confirmed. */
  pending(): Json[];
  /** Whether a getUpdates waits for an update. */
  polled(): boolean;
  /** Pushes any update; its id. */
  push(type: string, payload: Json): number | undefined;
  /** The bot's messages that are there, in the order they came, of one chat or of all. */
  sent(chat?: { id: number }): Stored[];
  /** All that the bot ever sent, with what was deleted. */
  everSent: readonly Stored[];
  /** Typing and the like. */
  actions(chat: { id: number }): { action: string; threadId?: number; atMs: number }[];
  /** Commands that the bot has set, by `[scope, language]`. */
  commands(): Record<string, { command: string; description: string }[]>;
  /** Bytes of a file that a message of the bot has. */
  file(id: string): Buffer;
  /** The first value other than undefined and false that `look` gives, now or after something happened. */
  waitFor<T>(what: string, look: () => T | undefined | false, timeoutMs?: number): Promise<T>;
  /** From now on a webhook may have this certificate, PEM. */
  trust(certificate: string): void;
  /** The network to Telegram is gone: connections end, new ones are refused. */
  goDown(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

export async function startTelegram(options: TelegramOptions = {}): Promise<FakeTelegram> {
  const { clock = systemClock, seed = 1, token = "4242:fake-telegram-token", root = "" } = options;
  const bot = botUser(token, options.bot);
  const telegram: Telegram = {
    world: new World(clock, bot),
    updates: new Updates(clock, 700_000_000),
    files: new Files(),
    limits: new Limits(clock, { ...TELEGRAM_RATES, ...options.rates }),
    queries: new Map(),
    commands: new Map(),
  };
  const watchers = new Set<() => void>();
  const changed = () => {
    for (const look of watchers) look();
  };
  const faults = new Faults(seed);
  const { port = 0, host } = options;
  const server = new BotApiServer({ token, root, port, host, telegram, faults, changed });
  await server.listen();
  return {
    ...viewOf(telegram),
    url: server.url,
    token,
    bot,
    people: new People(telegram, changed),
    faults,
    calls: server.calls,
    waitFor: (what, look, timeoutMs) => {
      const state = () => stateOf(telegram, server.calls);
      return waitFor(watchers, { what, look, state, timeoutMs });
    },
    trust: (certificate) => {
      telegram.updates.trusted = certificate;
    },
    goDown: () => server.close(),
    comeBack: () => server.listen(),
    stop: async () => {
      await telegram.updates.stop();
      await server.close();
    },
  };
}

function botUser(token: string, facts: Json = {}): User & Json {
  return {
    id: Number(token.split(":")[0]),
    is_bot: true,
    first_name: "Argus",
    username: "argus_test_bot",
    can_join_groups: true,
    can_read_all_group_messages: false,
    supports_inline_queries: false,
    ...facts,
  };
}

/** What a wait that failed should tell. */
function stateOf({ world, updates }: Telegram, calls: readonly ApiCall[]): string {
  return JSON.stringify({
    ...updates.webhookInfo(),
    polled: updates.polled,
    lastCalls: calls.slice(-5).map(({ method }) => method),
    lastSent: world.sent.slice(-3).map(({ versions }) => versions.at(-1)?.text?.slice(0, 200)),
  });
}

/** What can be looked at. */
function viewOf({ world, updates, files, limits, commands }: Telegram) {
  return {
    refused: limits.refused,
    pending: (): Json[] => updates.pending,
    polled: () => updates.polled,
    push: (type: string, payload: Json) => updates.push(type, payload),
    everSent: world.sent,
    sent: (chat?: { id: number }) =>
      (chat ? world.sentTo(chat.id) : world.sent).filter(
        ({ deletedMs }) => deletedMs === undefined,
      ),
    actions: ({ id }: { id: number }) => world.chats.get(id)?.actions ?? [],
    commands: () => Object.fromEntries(commands),
    file: (id: string) => files.find(id).bytes,
  };
}

interface Wait<T> {
  what: string;
  look: () => T | undefined | false;
  state: () => string;
  timeoutMs: number | undefined;
}

async function waitFor<T>(watchers: Set<() => void>, wait: Wait<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const look = () => {
    const found = wait.look();
    if (found !== undefined && found !== false) resolve(found);
  };
  const { timeoutMs = 30_000 } = wait;
  const timer = setTimeout(() => {
    reject(new Error(`not within ${timeoutMs} ms: ${wait.what}; ${wait.state()}`));
  }, timeoutMs);
  watchers.add(look);
  try {
    look();
    return await promise;
  } finally {
    clearTimeout(timer);
    watchers.delete(look);
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: "string" }, token: { type: "string" } },
  });
  const telegram = await startTelegram({
    port: Number(values.port ?? 0),
    ...(values.token && { token: values.token }),
  });
  console.log(telegram.url);
}
