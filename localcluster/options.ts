import type { Clock } from "#lib/clock.ts";
import type { Logger } from "#lib/logger.ts";
import type { Listening } from "#lib/running.ts";
import type { LogSource } from "./logs.ts";

export interface ApiServerOptions {
  /** Private folder for objects, certificate, keys and tokens; made when missing. */
  folder: string;
  host?: "127.0.0.1";
  /** 0 = any free port. */
  port: number;
  logger: Logger;
  logs: LogSource;
  clock?: Clock;
}

/** Bearer tokens of the fixed users. Each may do everything; a pod's token may do nothing here. */
export interface UserTokens {
  admin: string;
  controller: string;
  gateway: string;
  kubelet: string;
}

/** Serves `https://{host}:{port}`; `caPem` is the self-signed certificate to trust. */
export interface ApiServer extends Listening {
  caPem: string;
  tokens: UserTokens;
}

/** Rejects with ArgusError when the folder is in use or not writable, or the port is taken. */
export type StartApiServer = (options: ApiServerOptions, signal: AbortSignal) => Promise<ApiServer>;
