import type { Logger } from "#lib/logger.ts";

/** Chats whose key matches go to this address. */
export interface Route {
  /** A chat's key, or its beginning before a `*` at the end. */
  chat: string;
  /** http or https. */
  url: string;
}

export interface WebhookOptions {
  gatewayUrl: string;
  token: () => Promise<string>;
  channel: string;
  adapter: string;
  /** The first that matches is taken. */
  routes: Route[];
  secret: string;
  /** Chats that are served at once. */
  parallel: number;
  /** Where /livez and /readyz are served; nowhere when absent. */
  listen?: { host: string; port: number };
  logger: Logger;
}
