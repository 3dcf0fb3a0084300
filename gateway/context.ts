import type { Logger } from "#lib/logger.ts";
import type { Authenticator } from "./auth.ts";
import type { Channels } from "./channels/channels.ts";
import type { FileDesk } from "./channels/file-desk.ts";
import type { Crons } from "./crons.ts";
import type { Directory } from "./directory.ts";
import type { EventEnds } from "./event-ends.ts";
import type { KeyRing } from "./key-ring.ts";
import type { Lanes } from "./lanes/lanes.ts";
import type { Liveness } from "./liveness.ts";
import type { ServerHeaders } from "./mcp/server-headers.ts";
import type { Nodes } from "./nodes/nodes.ts";
import type { PodTokens } from "./pod-tokens.ts";
import type { SessionKeeper } from "./sessions/keeper.ts";
import type { GatewayState } from "./state/gateway-state.ts";
import type { Store } from "./store/store.ts";
import type { WebhookSecrets } from "./webhooks/secrets.ts";

/** What every connection needs; there is one per gateway. */
export interface GatewayContext {
  auth: Authenticator;
  /** What belongs to no single session: people, chats, titles. */
  state: GatewayState;
  directory: Directory;
  keys: KeyRing;
  podTokens: PodTokens;
  liveness: Liveness;
  lanes: Lanes;
  eventEnds: EventEnds;
  crons: Crons;
  keeper: SessionKeeper;
  channels: Channels;
  files: FileDesk;
  store: Store;
  nodes: Nodes;
  webhookSecrets: WebhookSecrets;
  mcpHeaders: ServerHeaders;
  /** Asks for the public keys to be written again: a pod did not know ours. */
  republish: () => void;
  logger: Logger;
  /** Aborts when the gateway stops. */
  signal: AbortSignal;
}

/** What lanes need of it. */
export type LaneContext = Omit<
  GatewayContext,
  "lanes" | "eventEnds" | "crons" | "channels" | "nodes" | "webhookSecrets" | "mcpHeaders"
>;
