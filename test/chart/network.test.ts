import { expect, test } from "vitest";
import { networkLabels, sharedPolicies } from "#controller/network/policies.ts";
import { NAMESPACE, type Rendered, render, type Values } from "#test/support/chart.ts";
import { type Endpoint, isAllowed, type NetworkPolicy } from "#test/support/network-policy.ts";
import { sessionOf } from "#test/support/sessions.ts";
import { workloads } from "./rules.ts";

const DNS = 53;
const API = 6443;

/** Pods of the release, and who else there is around them. */
function world(objects: Rendered[]): Record<string, Endpoint> {
  const pod = (component: string): Endpoint => {
    const found = workloads(objects).find(
      ({ labels }) => labels["app.kubernetes.io/component"] === component,
    );
    return { namespace: NAMESPACE, labels: found?.labels ?? {} };
  };
  return {
    controller: pod("controller"),
    gateway: pod("gateway"),
    telegram: pod("telegram"),
    test: pod("test"),
    session: { namespace: NAMESPACE, labels: { "argus.dev/session": "main" } },
    neighbour: { namespace: NAMESPACE, labels: { app: "database" } },
    "foreign session": { namespace: "other", labels: { "argus.dev/session": "main" } },
    ingress: { namespace: "ingress", labels: { app: "nginx" } },
    prometheus: { namespace: "monitoring", labels: { app: "prometheus" } },
    dns: { namespace: "kube-system", labels: { "k8s-app": "kube-dns" } },
    internet: { ip: "203.0.113.9" },
    internet6: { ip: "2001:db8::9" },
    private: { ip: "10.1.2.3" },
    metadata: { ip: "169.254.169.254" },
    metadata6: { ip: "fd00:ec2::254" },
  };
}

type Case = [from: string, to: string, port: number, allowed: boolean];

async function wrongIn(values: Values, table: Case[]): Promise<string[]> {
  const objects = await render(values);
  const policies = objects.filter(({ kind }) => kind === "NetworkPolicy");
  return wrongWith(policies as unknown as NetworkPolicy[], world(objects), table);
}

function wrongWith(
  policies: NetworkPolicy[],
  who: Record<string, Endpoint>,
  table: Case[],
): string[] {
  return table
    .filter(([from, to, port, allowed]) => {
      const ends = { from: who[from] ?? {}, to: who[to] ?? {}, port };
      return isAllowed(policies, ends) !== allowed;
    })
    .map(([from, to, port, allowed]) => `${from} → ${to}:${port} should be ${allowed}`);
}

const ALWAYS: Case[] = [
  // What comes in.
  ["session", "gateway", 8080, true],
  ["controller", "gateway", 8080, true],
  ["test", "gateway", 8080, true],
  ["session", "gateway", 22, false],
  ["neighbour", "gateway", 9999, false],
  ["session", "controller", 8081, false],
  ["foreign session", "controller", 8081, false],
  ["internet", "controller", 8081, false],
  ["ingress", "controller", 8080, false],
  // What goes out.
  ["gateway", "session", 7777, true],
  ["gateway", "session", 7778, false],
  ["gateway", "foreign session", 7777, false],
  ["gateway", "dns", DNS, true],
  ["gateway", "internet", API, true],
  ["gateway", "internet", 25, false],
  ["gateway", "neighbour", 5432, false],
  ["gateway", "metadata", 80, false],
  ["gateway", "metadata6", 80, false],
  ["controller", "session", 7778, true],
  ["controller", "session", 7777, false],
  ["controller", "foreign session", 7778, false],
  ["controller", "dns", DNS, true],
  ["controller", "private", API, true],
  ["controller", "internet", 25, false],
  ["controller", "metadata", 80, false],
  ["controller", "neighbour", 5432, false],
  ["test", "internet", 443, false],
  ["test", "controller", 8081, false],
  ["neighbour", "test", 8080, false],
];

test("the truth table of the installation as it is", async () => {
  const table: Case[] = [
    ...ALWAYS,
    ["ingress", "gateway", 8080, true],
    ["internet", "gateway", 8080, true],
    ["neighbour", "gateway", 8080, true],
    ["neighbour", "controller", 8081, true],
    ["prometheus", "controller", 8081, false],
    ["gateway", "internet", 443, true],
    ["gateway", "internet6", 443, true],
  ];
  expect(await wrongIn({}, table)).toEqual([]);
});

test("a bot reaches Telegram, the gateway and, for its Lease, the API server; one that is posted to is reached", async () => {
  const telegram = { enabled: true, existingSecret: "bot" };
  const table = (isPosted: boolean): Case[] => [
    ["telegram", "gateway", 8080, true],
    ["telegram", "internet", 443, true],
    ["telegram", "internet", API, true],
    ["telegram", "session", 7777, false],
    ["ingress", "telegram", 8083, isPosted],
  ];
  expect(await wrongIn({ telegram }, table(false))).toEqual([]);
  const webhook = "https://bot.example.org/hook";
  expect(await wrongIn({ telegram: { ...telegram, webhook } }, table(true))).toEqual([]);
});

test("who may come in is narrowed by values", async () => {
  const from = (name: string) => [
    { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } } },
  ];
  const values = {
    networkPolicy: { clientsFrom: from("ingress"), metricsFrom: from("monitoring") },
  };
  const table: Case[] = [
    ...ALWAYS,
    ["ingress", "gateway", 8080, true],
    ["internet", "gateway", 8080, false],
    ["neighbour", "gateway", 8080, false],
    ["foreign session", "gateway", 8080, false],
    ["prometheus", "controller", 8081, true],
    ["neighbour", "controller", 8081, false],
  ];
  expect(await wrongIn(values, table)).toEqual([]);
});

test("the model's address and port are opened and no other", async () => {
  const upstream = (url: string, modelCidrs: string[] = []): Values => ({
    model: { upstream: url },
    networkPolicy: { modelCidrs, apiServerPorts: [API] },
  });
  const reach = (port: number, cidr: boolean): Case[] => [
    ["gateway", "private", port, true],
    ["gateway", "internet", port, !cidr],
    ["gateway", "metadata", port, false],
    ["gateway", "metadata6", port, false],
    ["gateway", "internet", port + 1, false],
    ["controller", "internet", port, false],
  ];
  expect(await wrongIn(upstream("https://api.example.org/v1"), reach(443, false))).toEqual([]);
  expect(await wrongIn(upstream("http://model.example.org/v1"), reach(80, false))).toEqual([]);
  expect(await wrongIn(upstream("http://10.1.2.3:8000/v1"), reach(8000, false))).toEqual([]);
  const listed = upstream("http://10.1.2.3:8000/v1", ["10.1.0.0/16"]);
  expect(await wrongIn(listed, reach(8000, true))).toEqual([]);
});

test("the table sees a policy that is gone", async () => {
  expect((await wrongIn({ networkPolicy: { enabled: false } }, ALWAYS)).length).toBeGreaterThan(10);
});

test("policies of the chart and of session pods let through what both ends need", async () => {
  for (const port of [8080, 9090]) {
    const objects = await render({ gateway: { service: { port } } });
    const env = workloads(objects).flatMap(({ pod }) =>
      pod.containers.flatMap((each) => each.env ?? []),
    );
    const gatewayUrl = env.find(({ name }) => name === "ARGUS_GATEWAY_URL")?.value ?? "";
    const labels = { "argus.dev/session": "main", ...networkLabels(sessionOf()) };
    const who = { ...world(objects), session: { namespace: NAMESPACE, labels } };
    const policies = [
      ...objects.filter(({ kind }) => kind === "NetworkPolicy"),
      ...sharedPolicies({ namespace: NAMESPACE, gatewayUrl }),
    ] as NetworkPolicy[];
    const table: Case[] = [
      ["session", "gateway", port, true],
      ["session", "gateway", port + 1, false],
      ["gateway", "session", 7777, true],
      ["gateway", "session", 7778, false],
      ["controller", "session", 7778, true],
      ["controller", "session", 7777, false],
      ["controller", "gateway", port, true],
      ["test", "gateway", port, true],
      ["test", "session", 7777, false],
      ["session", "controller", 8081, false],
      ["neighbour", "session", 7777, false],
      ["session", "metadata", 80, false],
    ];
    expect(wrongWith(policies, who, table)).toEqual([]);
  }
});
