import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "#lib/logger.ts";
import { startApiServer } from "#localcluster/api-server.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import { kubernetesContract } from "./kubernetes.ts";

async function make() {
  const folder = await mkdtemp(join(tmpdir(), "argus-kubernetes-"));
  const stop = new AbortController();
  const api = await startApiServer(
    {
      folder: join(folder, "api"),
      port: 0,
      logger: silentLogger(),
      logs: {
        async *read(pod, { container, tailLines }) {
          const lines = [`${pod.name}/${container} one\n`, "two\n"].slice(-(tailLines ?? 2));
          for (const line of lines) yield Buffer.from(line);
        },
      },
    },
    stop.signal,
  );
  const server = `https://${api.host}:${api.port}`;
  const { caPem, tokens } = api;
  const token = tokens.admin;
  const kubeconfig = join(folder, "kubeconfig");
  const text = kubeconfigYaml({ server, caPem, token, user: "admin", namespace: "default" });
  await writeFile(kubeconfig, text, { mode: 0o600 });
  const close = async () => {
    stop.abort();
    await api.closed;
    await rm(folder, { recursive: true, force: true });
  };
  return { server, caPem, token, kubeconfig, close };
}

kubernetesContract({ server: "local", make });
