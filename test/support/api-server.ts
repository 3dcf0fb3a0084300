import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "#lib/logger.ts";
import { startApiServer } from "#localcluster/api-server.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";

/** The API server that `argus up` runs, alone, in a folder of its own. */
export interface LocalApiServer {
  server: string;
  caPem: string;
  /** The admin's. */
  token: string;
  /** Path of the admin's. */
  kubeconfig: string;
  stop(): Promise<void>;
}

export async function startLocalApiServer(): Promise<LocalApiServer> {
  const folder = await mkdtemp(join(tmpdir(), "argus-api-"));
  const stop = new AbortController();
  const logs = { read: () => Promise.reject(new Error("no pod runs here")) };
  const api = await startApiServer(
    { folder: join(folder, "api"), port: 0, logger: silentLogger(), logs: logs as never },
    stop.signal,
  );
  const server = `https://${api.host}:${api.port}`;
  const { caPem } = api;
  const token = api.tokens.admin;
  const kubeconfig = join(folder, "kubeconfig");
  const text = kubeconfigYaml({ server, caPem, token, user: "admin", namespace: "default" });
  await writeFile(kubeconfig, text);
  return {
    server,
    caPem,
    token,
    kubeconfig,
    stop: async () => {
      stop.abort();
      await api.closed;
      await rm(folder, { recursive: true });
    },
  };
}
