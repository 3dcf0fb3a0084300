import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import type { KubeConfig } from "@kubernetes/client-node";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { AccessOptions, ClusterAccess, Credentials, TlsOptions } from "./access.ts";

const TLS_FIELDS = ["ca", "cert", "key", "pfx", "passphrase", "rejectUnauthorized", "servername"];

/** Every way that client-node knows: exec plug-ins, OIDC, the pod's own account. It costs 90 MB, so it is imported only here. */
export async function libraryAccess(options: AccessOptions): Promise<ClusterAccess> {
  const library = await import("@kubernetes/client-node");
  const config = new library.KubeConfig();
  if (options.kubeconfig) await loadFile(config, options.kubeconfig);
  else config.loadFromDefault();
  if (options.context) config.setCurrentContext(options.context);
  const cluster = config.getCurrentCluster();
  if (!cluster) {
    throw new ArgusError(
      "InvalidInput",
      `context "${config.getCurrentContext()}" names no cluster: choose one with kubectl config use-context`,
    );
  }
  return {
    server: cluster.server.replace(/\/+$/, ""),
    proxyUrl: cluster.proxyUrl,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace ?? "default",
    credentials: () => readCredentials(config),
  };
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
