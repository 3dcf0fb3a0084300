import { createHash } from "node:crypto";
import { Agent, buildConnector, type Dispatcher, ProxyAgent } from "undici";
import { ArgusError } from "#lib/errors.ts";
import type { AccessOptions, ClusterAccess, TlsOptions } from "./access.ts";
import { libraryAccess } from "./library-access.ts";
import { lively } from "./liveness.ts";
import { plainAccess } from "./plain-access.ts";
import { podAccess } from "./pod-access.ts";
import { hearStreamErrors } from "./stream-errors.ts";

/** Credentials and certificate authority are read again at this age, so that rotated files take effect. */
const CREDENTIALS_MAX_AGE_MS = 30_000;
/** Sockets for calls; HTTP/2 needs one of them. */
const CALL_CONNECTIONS = 4;
/** More watches than this over HTTP/1.1 would wait for each other. */
const WATCH_CONNECTIONS = 32;
/** Used over HTTP/2 only. */
const STANDBY_CONNECTIONS = 1;
/** Finds a dead peer long before a watch's own limit of silence. */
const PING_INTERVAL_MS = 10_000;

export interface ConnectionOptions extends AccessOptions {
  /** Of HTTP/2 connections. */
  pingIntervalMs?: number | undefined;
}

/** How to reach the API server right now. */
export interface Target {
  /** `https://10.0.0.1:6443`, with a path where the server has one, never with a slash at the end. */
  server: string;
  headers: Record<string, string>;
  calls: Dispatcher;
  watches: Dispatcher;
  /** Second watches of what `watches` watches. */
  standbys: Dispatcher;
}

/** Watches on the former TLS material go on for so long, until those on the new one are there. */
const STANDBY_RETIRES_MS = 10_000;

/** One set of pooled connections, made again only when the TLS material changes. */
export class Connection {
  readonly namespace: string;
  /** Whether the newest connection speaks HTTP/2. */
  multiplexes = false;
  readonly #access: ClusterAccess;
  readonly #proxy: string | undefined;
  readonly #pingIntervalMs: number;
  #target: Target | undefined;
  #fingerprint = "";
  #readAtMs = Number.NEGATIVE_INFINITY;
  #refreshing: Promise<Target> | undefined;

  constructor(access: ClusterAccess, pingIntervalMs = PING_INTERVAL_MS) {
    this.#access = access;
    this.#pingIntervalMs = pingIntervalMs;
    this.#proxy = proxyOf(access.proxyUrl);
    this.namespace = access.namespace;
  }

  /** @param stale throw the known credentials away first, after a 401. */
  target(stale = false): Promise<Target> {
    const age = performance.now() - this.#readAtMs;
    if (this.#target && !stale && age < CREDENTIALS_MAX_AGE_MS) {
      return Promise.resolve(this.#target);
    }
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async close(): Promise<void> {
    const target = this.#target;
    this.#target = undefined;
    const { calls, watches, standbys } = target ?? {};
    await Promise.all([calls?.destroy(), watches?.destroy(), standbys?.destroy()]);
  }

  async #refresh(): Promise<Target> {
    const { headers, tls } = await this.#access.credentials();
    const fingerprint = fingerprintOf(tls);
    const old = this.#target;
    if (old && fingerprint === this.#fingerprint) {
      this.#target = { ...old, headers };
    } else {
      this.#target = { server: this.#access.server, headers, ...this.#dispatchers(tls) };
      this.#fingerprint = fingerprint;
      // Calls under way end on the old connections; watches come back on the new ones.
      if (old) retire(old);
    }
    this.#readAtMs = performance.now();
    return this.#target;
  }

  #dispatchers(tls: TlsOptions): Pick<Target, "calls" | "watches" | "standbys"> {
    hearStreamErrors();
    const pingInterval = this.#pingIntervalMs;
    const tcp = { ...tls, keepAlive: true, keepAliveInitialDelay: pingInterval };
    const connect = lively(buildConnector({ ...tcp, allowH2: true }), pingInterval, (http2) => {
      this.multiplexes = http2;
    });
    const shape = { allowH2: true, h2Options: { pingInterval } };
    const make = (connections: number): Dispatcher =>
      this.#proxy
        ? new ProxyAgent({ uri: this.#proxy, requestTls: tcp, connections })
        : new Agent({ connect, connections, ...shape });
    return {
      calls: make(CALL_CONNECTIONS),
      watches: make(WATCH_CONNECTIONS),
      standbys: make(STANDBY_CONNECTIONS),
    };
  }
}

/** The cheap way where it is enough, else the library's. Throws InvalidInput when the configuration cannot be used. */
export async function loadConnection(options: ConnectionOptions): Promise<Connection> {
  const access = (await cheapAccess(options)) ?? (await libraryAccess(options));
  return new Connection(access, options.pingIntervalMs);
}

async function cheapAccess(options: AccessOptions): Promise<ClusterAccess | undefined> {
  const { kubeconfig, context, apiServer } = options;
  if (context) return undefined;
  if (kubeconfig) return plainAccess(kubeconfig);
  return apiServer && podAccess(apiServer);
}

function proxyOf(url: string | undefined): string | undefined {
  if (!url || /^https?:/.test(url)) return url;
  throw new ArgusError("InvalidInput", "the kubeconfig's proxy-url must begin with http or https");
}

function fingerprintOf(tls: TlsOptions): string {
  const hash = createHash("sha256");
  const fields = Object.entries(tls).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, value] of fields) hash.update(`${name}=${JSON.stringify(value) ?? ""};`);
  return hash.digest("hex");
}

function retire({ calls, watches, standbys }: Target): void {
  void calls.close().catch(() => undefined);
  void watches.destroy().catch(() => undefined);
  setTimeout(() => void standbys.destroy().catch(() => undefined), STANDBY_RETIRES_MS).unref();
}
