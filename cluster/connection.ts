import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import type { KubeConfig } from "@kubernetes/client-node";
import { Agent, type Dispatcher, ProxyAgent } from "undici";
import { ArgusError, errorMessage } from "#lib/errors.ts";

/** Credentials and certificate authority are read again at this age, so that rotated files take effect. */
const CREDENTIALS_MAX_AGE_MS = 30_000;
/** Sockets for calls; HTTP/2 needs one of them. */
const CALL_CONNECTIONS = 4;
/** More watches than this over HTTP/1.1 would wait for each other. */
const WATCH_CONNECTIONS = 32;
/** Finds a dead peer below the watch's own silence limit. */
const PING_INTERVAL_MS = 20_000;

export interface ConnectionOptions {
  /** Path of a kubeconfig file; absent = KUBECONFIG, ~/.kube/config, then the pod's own account. */
  kubeconfig?: string | undefined;
  context?: string | undefined;
}

/** How to reach the API server right now. */
export interface Target {
  /** `https://10.0.0.1:6443`, with a path where the server has one, never with a slash at the end. */
  server: string;
  headers: Record<string, string>;
  calls: Dispatcher;
  watches: Dispatcher;
}

type TlsOptions = Record<string, unknown>;
interface Credentials {
  headers: Record<string, string>;
  tls: TlsOptions;
}

/** One set of pooled connections, made again only when the TLS material changes. */
export class Connection {
  readonly namespace: string;
  readonly #config: KubeConfig;
  readonly #server: string;
  readonly #proxy: string | undefined;
  #target: Target | undefined;
  #fingerprint = "";
  #readAtMs = Number.NEGATIVE_INFINITY;
  #refreshing: Promise<Target> | undefined;

  constructor(config: KubeConfig) {
    const cluster = config.getCurrentCluster();
    if (!cluster) {
      throw new ArgusError(
        "InvalidInput",
        `context "${config.getCurrentContext()}" names no cluster: choose one with kubectl config use-context`,
      );
    }
    this.#config = config;
    this.#server = cluster.server.replace(/\/+$/, "");
    this.#proxy = proxyOf(cluster.proxyUrl);
    this.namespace = config.getContextObject(config.getCurrentContext())?.namespace ?? "default";
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
    const { headers, tls } = await readCredentials(this.#config);
    const fingerprint = fingerprintOf(tls);
    const old = this.#target;
    if (old && fingerprint === this.#fingerprint) {
      this.#target = { ...old, headers };
    } else {
      this.#target = { server: this.#server, headers, ...this.#dispatchers(tls) };
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

/** Loads the configuration; client-node costs memory, so it is loaded by whoever connects and by nobody else. */
export async function loadConnection(options: ConnectionOptions): Promise<Connection> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  if (options.kubeconfig) await loadFile(config, options.kubeconfig);
  else config.loadFromDefault();
  if (options.context) config.setCurrentContext(options.context);
  return new Connection(config);
}

async function loadFile(config: KubeConfig, path: string): Promise<void> {
  try {
    await readFile(path);
    config.loadFromFile(path);
  } catch (error) {
    throw new ArgusError(
      "InvalidInput",
      `cannot use the kubeconfig ${path}: ${errorMessage(error)}`,
      { path },
      { cause: error },
    );
  }
}

function proxyOf(url: string | undefined): string | undefined {
  if (!url || /^https?:/.test(url)) return url;
  throw new ArgusError("InvalidInput", "the kubeconfig's proxy-url must begin with http or https");
}

const TLS_FIELDS = ["ca", "cert", "key", "pfx", "passphrase", "rejectUnauthorized", "servername"];

async function readCredentials(config: KubeConfig): Promise<Credentials> {
  const cluster = config.getCurrentCluster();
  // client-node refuses plain HTTP unless told that nobody expects TLS; loopback servers speak it.
  const plain = cluster?.server.startsWith("http:") && !cluster.skipTLSVerify;
  if (cluster && plain) Object.assign(cluster, { skipTLSVerify: true });
  const options: RequestOptions & TlsOptions = {};
  await config.applyToHTTPSOptions(options);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    headers[name.toLowerCase()] = String(value).trim();
  }
  if (typeof options.auth === "string") {
    headers.authorization = `Basic ${Buffer.from(options.auth).toString("base64")}`;
  }
  const present = TLS_FIELDS.filter((name) => options[name] !== undefined);
  return { headers, tls: Object.fromEntries(present.map((name) => [name, options[name]])) };
}

function fingerprintOf(tls: TlsOptions): string {
  const hash = createHash("sha256");
  for (const name of TLS_FIELDS) hash.update(`${name}=${JSON.stringify(tls[name]) ?? ""};`);
  return hash.digest("hex");
}

function retire({ calls, watches }: Target): void {
  void calls.close().catch(() => undefined);
  void watches.destroy().catch(() => undefined);
}
