import type { KubeClient } from "#cluster/types.ts";
import type { Logger } from "#lib/logger.ts";
import type { WebhookOptions } from "./inbound/webhook.ts";

/** The Lease of which only the holder talks to Telegram. */
export interface BotLease {
  kube: KubeClient;
  namespace: string;
  name: string;
  /** Of this replica; never may two run under one name at once. */
  identity: string;
}

export interface BotOptions {
  gatewayUrl: string;
  /** The gateway's token for adapters; read for each connection. */
  gatewayToken: () => Promise<string>;
  /** From BotFather. */
  botToken: string;
  /** Another Bot API server; undefined = Telegram's. */
  apiRoot: string | undefined;
  /** Telegram posts its updates; undefined = it is asked for them. */
  webhook: WebhookOptions | undefined;
  /** Undefined = this is the only bot of its token. */
  lease: BotLease | undefined;
  /** Telegram user ids that need no code. */
  owners: string[];
  members: string[];
  /** Session of the owners' private chats. */
  mainSession: string;
  /** Chats that are served at once. */
  parallel: number;
  /** Where /livez and /readyz are served; undefined = nowhere. */
  listen: { host: string; port: number } | undefined;
  logger: Logger;
}

/** Name of the channel, and of this adapter: there is one bot of a token at a time. */
export const CHANNEL_NAME = "telegram";
