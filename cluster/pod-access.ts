import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import type { ApiServerAddress, ClusterAccess, Credentials } from "./access.ts";

/** Where a kubelet puts the token, the certificate authority and the namespace of a pod's account. */
const ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * The pod's own account, as client-node would use it, without the 90 MB that it costs; undefined where there is none.
 * The kubelet replaces the files before they expire, so they are read at each call.
 */
export async function podAccess(
  { host, port }: ApiServerAddress,
  folder = ACCOUNT_FOLDER,
): Promise<ClusterAccess | undefined> {
  const token = join(folder, "token");
  if (!existsSync(token)) return undefined;
  const namespace = await readFile(join(folder, "namespace"), "utf8").catch(() => "");
  return {
    server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    namespace: namespace.trim() || "default",
    credentials: () => credentials(token, join(folder, "ca.crt")),
  };
}

async function credentials(token: string, authority: string): Promise<Credentials> {
  const authorization = `Bearer ${(await readFile(token, "utf8")).trim()}`;
  return { headers: { authorization }, tls: { ca: await readFile(authority) } };
}
