import type { KubeClient } from "#cluster/types.ts";
import type { Clock } from "#lib/clock.ts";
import type { Logger } from "#lib/logger.ts";

export interface ControllerOptions {
  kube: KubeClient;
  namespace: string;
  /** Image of a session that names none. */
  defaultImage: string;
  /** Base URL of the gateway as a pod reaches it. */
  gatewayUrl: string;
  /** File with the token that the gateway knows this controller by. */
  gatewayTokenFile?: string;
  /** Codex model name for sessions; undefined = Codex's default. */
  model?: string;
  /** Shell text that prints what is said in the sound file `$1`, of sessions that name none; undefined = nobody listens. */
  transcribe?: string;
  /** false = session pods get user namespaces of their own. */
  hostUsers?: boolean;
  /** Of this replica, of which never two may run at once; the one that led before leads again without waiting. */
  identity: string;
  /** Health and metrics. */
  host: string;
  port: number;
  /** Session uids are taken from here. */
  uidRange: { first: number; last: number };
  logger: Logger;
  /** Time that decisions are made by; the system's when absent. */
  clock?: Clock;
}
