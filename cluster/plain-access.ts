import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import type { ClusterAccess, Credentials, TlsOptions } from "./access.ts";

// Strict: with any field that is not named here the whole file is left to the library.
const Cluster = z.strictObject({
  server: z.url(),
  "certificate-authority-data": z.base64().optional(),
  "certificate-authority": z.string().optional(),
});
const User = z.strictObject({
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  "client-certificate-data": z.base64().optional(),
  "client-key-data": z.base64().optional(),
});
const named = <K extends string, T extends z.ZodType>(key: K, value: T) =>
  z.array(z.object({ name: z.string(), [key]: value } as { name: z.ZodString } & Record<K, T>));
const PlainConfig = z.object({
  "current-context": z.string(),
  clusters: named("cluster", Cluster),
  users: named("user", User),
  contexts: named(
    "context",
    z.strictObject({ cluster: z.string(), user: z.string(), namespace: z.string().optional() }),
  ),
});

/**
 * A kubeconfig whose every user has a token or a certificate and nothing else, as Argus itself writes them; undefined
 * for any other, which is the library's business: loading that costs each process 90 MB.
 */
export async function plainAccess(path: string): Promise<ClusterAccess | undefined> {
  const text = await readFile(path, "utf8").catch(() => "");
  const { data: config } = PlainConfig.safeParse(parseOrNothing(text));
  const parts = config && current(config);
  if (!parts) return undefined;
  const { cluster, user, namespace } = parts;
  const at = (file: string) => resolve(dirname(path), file);
  return {
    server: cluster.server.replace(/\/+$/, ""),
    namespace,
    credentials: () => credentials(cluster, user, at),
  };
}

function current(config: z.output<typeof PlainConfig>) {
  const byName = <T extends { name: string }>(list: T[], name: string | undefined) =>
    list.find((each) => each.name === name);
  const context = byName(config.contexts, config["current-context"])?.context;
  const cluster = byName(config.clusters, context?.cluster)?.cluster;
  const user = byName(config.users, context?.user)?.user;
  return cluster && user && { cluster, user, namespace: context?.namespace ?? "default" };
}

function parseOrNothing(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

async function credentials(
  cluster: z.output<typeof Cluster>,
  user: z.output<typeof User>,
  at: (file: string) => string,
): Promise<Credentials> {
  const tls: TlsOptions = {};
  const ca = cluster["certificate-authority"];
  if (ca) tls.ca = await readFile(at(ca));
  const inline = {
    ca: cluster["certificate-authority-data"],
    cert: user["client-certificate-data"],
    key: user["client-key-data"],
  };
  for (const [name, data] of Object.entries(inline)) {
    if (data) tls[name] = Buffer.from(data, "base64");
  }
  const token = user.tokenFile ? await readFile(at(user.tokenFile), "utf8") : user.token;
  return { headers: token ? { authorization: `Bearer ${token.trim()}` } : {}, tls };
}
