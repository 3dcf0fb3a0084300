import {
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  KubernetesObjectApi,
  makeInformer,
  type V1ConfigMap,
} from "@kubernetes/client-node";
import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { configMap, type Tools, widget } from "./tools.ts";

function configOf(t: Tools): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(t.peer.kubeconfig);
  return config;
}

export function clientCases(add: Case): void {
  add("client-node: CoreV1Api creates, reads, replaces and deletes", async (t) => {
    const namespace = await t.namespace();
    const api = configOf(t).makeApiClient(CoreV1Api);
    const body = await api.createNamespacedConfigMap({
      namespace,
      body: configMap("c", { a: "1" }),
    });
    expect(body.metadata?.creationTimestamp).toBeInstanceOf(Date);
    const next: V1ConfigMap = { ...configMap("c", { a: "2" }), metadata: body.metadata };
    await api.replaceNamespacedConfigMap({ namespace, name: "c", body: next });
    expect((await api.readNamespacedConfigMap({ namespace, name: "c" })).data).toEqual({ a: "2" });
    await expect(
      api.replaceNamespacedConfigMap({ namespace, name: "c", body: next }),
    ).rejects.toMatchObject({ code: 409 });
    await api.deleteNamespacedConfigMap({ namespace, name: "c" });
    await expect(api.readNamespacedConfigMap({ namespace, name: "c" })).rejects.toMatchObject({
      code: 404,
    });
  });

  add("client-node: CustomObjectsApi lists and writes status", async (t) => {
    const namespace = await t.namespace();
    const api = configOf(t).makeApiClient(CustomObjectsApi);
    const at = { group: "contract.argus.dev", version: "v1", plural: "widgets", namespace };
    const made = await api.createNamespacedCustomObject({ ...at, body: widget("a") });
    const body = { ...made, status: { phase: "Good" } };
    await api.replaceNamespacedCustomObjectStatus({ ...at, name: "a", body });
    const list = await api.listNamespacedCustomObject(at);
    expect(list.items[0].status).toEqual({ phase: "Good" });
  });

  add("client-node: KubernetesObjectApi creates and deletes by discovery", async (t) => {
    const namespace = await t.namespace();
    const api = KubernetesObjectApi.makeApiClient(configOf(t));
    const object = widget("a", {}, { namespace });
    await api.create(object);
    expect((await api.read(object)).metadata?.uid).toBeTruthy();
    await api.delete(object);
    await expect(api.read(object)).rejects.toMatchObject({ code: 404 });
  });

  add("client-node: an informer sees what is there and what comes", async (t) => {
    const namespace = await t.namespace();
    const config = configOf(t);
    const api = config.makeApiClient(CoreV1Api);
    await api.createNamespacedConfigMap({ namespace, body: configMap("before") });
    const seen: string[] = [];
    const informer = makeInformer<V1ConfigMap>(
      config,
      `/api/v1/namespaces/${namespace}/configmaps`,
      () => api.listNamespacedConfigMap({ namespace }),
    );
    informer.on("add", ({ metadata }) => void seen.push(`add ${metadata?.name}`));
    informer.on("delete", ({ metadata }) => void seen.push(`delete ${metadata?.name}`));
    await informer.start();
    await api.createNamespacedConfigMap({ namespace, body: configMap("after") });
    await api.deleteNamespacedConfigMap({ namespace, name: "before" });
    await t.until(async () => seen.includes("add after") && seen.includes("delete before"));
    await informer.stop();
    expect(seen).toContain("add before");
  });
}
