import { createHash } from "node:crypto";
import { Agent, type Dispatcher, ProxyAgent } from "undici";
import { ArgusError } from "#lib/errors.ts";
import type { AccessOptions, ClusterAccess, TlsOptions } from "./access.ts";
import { libraryAccess } from "./library-access.ts";
import { plainAccess } from "./plain-access.ts";
import { podAccess } from "./pod-access.ts";

/** Credentials and certificate authority are read again at this age, so that rotated files take effect. */
const CREDENTIALS_MAX_AGE_MS = 30_000;
/** Sockets for calls; HTTP/2 needs one of them. */
const CALL_CONNECTIONS = 4;
/** More watches than this over HTTP/1.1 would wait for each other. */
const WATCH_CONNECTIONS = 32;
/** Finds a dead peer below the watch's own silence limit. */
const PING_INTERVAL_MS = 20_000;

/** How to reach the API server right now. */
export interface Target {
  /** `https://10.0.0.1:6443`, with a path where the server has one, never with a slash at the end. */
  server: string;
  headers: Record<string, string>;
  calls: Dispatcher;
  watches: Dispatcher;
}

/** One set of pooled connections, made again only when the TLS material changes. */
export class Connection {
  readonly namespace: string;
  readonly #access: ClusterAccess;
  readonly #proxy: string | undefined;
  #target: Target | undefined;
  #fingerprint = "";
  #readAtMs = Number.NEGATIVE_INFINITY;
  #refreshing: Promise<Target> | undefined;

  constructor(access: ClusterAccess) {
    this.#access = access;
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
    await Promise.all([target?.calls.destroy(), target?.watches.destroy()]);
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

  #dispatchers(tls: TlsOptions): Pick<Target, "calls" | "watches"> {
    const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: PING_INTERVAL_MS };
    const shape = { allowH2: true, h2Options: { pingInterval: PING_INTERVAL_MS } };
    const make = (connections: number): Dispatcher =>
      this.#proxy
        ? new ProxyAgent({ uri: this.#proxy, requestTls: connect, connections })
        : new Agent({ connect, connections, ...shape });
    return { calls: make(CALL_CONNECTIONS), watches: make(WATCH_CONNECTIONS) };
  }
}

/** The cheap way where it is enough, else the library's. Throws InvalidInput when the configuration cannot be used. */
export async function loadConnection(options: AccessOptions): Promise<Connection> {
  return new Connection((await cheapAccess(options)) ?? (await libraryAccess(options)));
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

function retire({ calls, watches }: Target): void {
  void calls.close().catch(() => undefined);
  void watches.destroy().catch(() => undefined);
}
