import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import {
  argusSessions,
  configMaps,
  customResourceDefinitions as crdResource,
} from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { customResourceDefinitions } from "#crds/kinds.ts";
import { startGateway } from "#gateway/gateway.ts";
import { silentLogger } from "#lib/logger.ts";
import type { Listening } from "#lib/running.ts";
import { startApiServer } from "#localcluster/api-server.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import type { ApiServer } from "#localcluster/options.ts";
import { POD } from "#protocol/pod.ts";
import { eventually } from "#test/support/eventually.ts";
import { WsClient } from "#test/support/ws-client.ts";

/** The gateway against the API server that `argus up` runs. */
const token = "admin-token-of-the-tests";
const namespace = "default";
const logger = silentLogger();
let folder: string;
let api: ApiServer;
let kube: KubeClient;
let gateway: Listening;
let stop: AbortController;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-gateway-cluster-"));
  stop = new AbortController();
  const logs = {
    read: async () => {
      throw new Error("no pod runs here");
    },
  };
  api = await startApiServer(
    { folder: join(folder, "api"), port: 0, logger, logs: logs as never },
    stop.signal,
  );
  const kubeconfig = join(folder, "kubeconfig");
  const server = `https://${api.host}:${api.port}`;
  const { caPem, tokens } = api;
  await writeFile(
    kubeconfig,
    kubeconfigYaml({ server, caPem, token: tokens.gateway, user: "gateway", namespace }),
  );
  kube = await createKubeClient({ kubeconfig, logger });
  for (const crd of customResourceDefinitions()) {
    await kube.create(crdResource, crd as unknown as KubeObject);
  }
  gateway = await startGateway(
    {
      host: "127.0.0.1",
      port: 0,
      namespace,
      stateFolder: join(folder, "state"),
      adminToken: token,
      kube,
      model: { upstream: "" },
      sessionTemplate: {},
      logger,
    },
    stop.signal,
  );
});
afterEach(async () => {
  stop.abort();
  await gateway.closed;
  await kube.close();
  await api.closed;
  await rm(folder, { recursive: true });
});

test("keys are published, main is made with the API server's defaults, tokens and deletion work", async () => {
  const url = `http://127.0.0.1:${gateway.port}`;
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const ref = { resource: configMaps, namespace, name: POD.keysConfigMap };
  const map = (await kube.get(ref)) as { data?: Record<string, string> } | undefined;
  expect(Object.values(map?.data ?? {})).toEqual([expect.stringContaining("BEGIN PUBLIC KEY")]);

  const client = await WsClient.connect({ url, token });
  await eventually("the status", () =>
    client.received.find(({ method }) => method === "argus/status"),
  );
  expect(client.received[0]?.params).toMatchObject({ id: "main", created: true, boot: null });
  expect(client.received[1]?.params?.["message"]).toBe(
    "Waiting for the controller to take up the session.",
  );
  const main = await kube.get({ resource: argusSessions, namespace, name: "main" });
  expect(main).toMatchObject({ spec: { operatingMode: "Running", tokenGeneration: 0 } });

  const body = JSON.stringify({ sessions: ["main"] });
  const issued = await eventually("a token", async () => {
    const answer = await fetch(`${url}/tokens`, { method: "POST", headers, body });
    return answer.ok && ((await answer.json()) as { token: string });
  });
  const other = await WsClient.connect({ url, token: issued.token });
  await eventually("its session", () => other.received[0]?.params?.["id"] === "main");

  const deleted = await fetch(`${url}/sessions/main`, {
    method: "DELETE",
    headers: { authorization: headers.authorization },
  });
  expect(await deleted.json()).toEqual({ ok: true, sessionId: "main" });
  await eventually("both are closed", () => client.closed && other.closed);
  expect(client.closed).toMatchObject({ code: 1008 });
});
