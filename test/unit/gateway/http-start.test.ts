import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { startHttp } from "#gateway/http.ts";
import { silentLogger } from "#lib/logger.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";

test("is not ready before clients are served, even when nothing is named that it waits for", async () => {
  const logger = silentLogger();
  const folder = await mkdtemp(join(tmpdir(), "argus-http-start-"));
  const kubeconfig = join(folder, "kubeconfig");
  const place = { server: "http://127.0.0.1:9", caPem: "", namespace: "default" };
  await writeFile(kubeconfig, kubeconfigYaml({ ...place, token: "t", user: "gateway" }));
  const kube = await createKubeClient({ kubeconfig, logger });
  const options = {
    host: "127.0.0.1",
    port: 0,
    namespace: "default",
    stateFolder: "/nowhere",
    adminToken: "admin-token-of-a-test",
    kube,
    model: { upstream: "http://127.0.0.1:9" },
    sessionTemplate: {},
    logger,
  };
  const http = await startHttp(options, () => []);
  try {
    const answer = await fetch(`http://127.0.0.1:${http.port}/readyz`);
    expect(answer.status).toBe(503);
  } finally {
    await http.close();
    await kube.close();
    await rm(folder, { recursive: true });
  }
});
