import type { Values } from "#test/support/chart.ts";

const peer = [{ podSelector: { matchLabels: { app: "x" } } }];
const HOST = { enabled: true, host: "a.example.org" };
const ROUTE = { enabled: true, parentRefs: [{ name: "public" }] };
const POLICY = { enabled: true };
const HOOK = {
  webhook: { enabled: true, urls: ["https://a.example.org/argus"], existingSecret: "hook" },
};
const BOT = { telegram: { enabled: true, existingSecret: "bot" } };
/** Another value for each key, and what must be set beside it for it to matter. */
export const OTHER: Record<string, [value: unknown, beside?: Values]> = {
  nameOverride: ["other"],
  fullnameOverride: ["other"],
  commonLabels: [{ team: "a" }],
  "image.repository": ["other"],
  "image.tag": ["v9"],
  "image.digest": [`sha256:${"b".repeat(64)}`],
  "runtimeImage.repository": ["other"],
  "runtimeImage.tag": ["v9"],
  "runtimeImage.digest": [`sha256:${"b".repeat(64)}`],
  imagePullPolicy: ["Always"],
  imagePullSecrets: [[{ name: "a" }]],
  "controller.replicas": [2],
  "controller.uidRange": ["300000-300010"],
  "gateway.store.kind": ["configmap"],
  "gateway.store.allowNetworkFileSystem": [true],
  "gateway.persistence.enabled": [false],
  "gateway.persistence.size": ["9Gi"],
  "gateway.persistence.storageClassName": ["fast"],
  "gateway.persistence.accessMode": ["ReadWriteOnce"],
  "gateway.service.port": [9090],
  "gateway.webhookSecrets": [["ci-key"]],
  "gateway.mcpSecrets": [["tickets"]],
  "gateway.service.annotations": [{ a: "b" }],
  "telegram.enabled": [true, { telegram: { ...BOT.telegram, enabled: false } }],
  "telegram.replicas": [2, BOT],
  "telegram.token": ["1:a", { telegram: { enabled: true, existingSecret: "", token: "2:b" } }],
  "telegram.existingSecret": ["other", BOT],
  "telegram.existingSecretKey": ["other", BOT],
  "telegram.owners": [["12345"], BOT],
  "telegram.members": [["12345"], BOT],
  "telegram.session": ["other", BOT],
  "telegram.apiRoot": ["http://bot-api:8081", BOT],
  "telegram.webhook": ["https://bot.example.org/hook", BOT],
  "webhook.enabled": [true, { webhook: { ...HOOK.webhook, enabled: false } }],
  "webhook.urls": [["billing=http://b.example.org:8080/in"], HOOK],
  "webhook.channel": ["other", HOOK],
  "webhook.secret": [
    "0123456789abcdef",
    { webhook: { ...HOOK.webhook, existingSecret: "", secret: "fedcba9876543210" } },
  ],
  "webhook.existingSecret": ["other", HOOK],
  "webhook.existingSecretKey": ["other", HOOK],
  "model.upstream": ["http://model:9000"],
  "model.name": ["other"],
  "model.key": ["sk-1"],
  "model.existingSecret": ["own"],
  "model.existingSecretKey": ["other", { model: { existingSecret: "own" } }],
  "adminToken.existingSecret": ["other"],
  "adminToken.existingSecretKey": ["other"],
  "sessions.template": [{ approvals: "untrusted" }],
  "sessions.transcribe": ['listen "$1"'],
  "sessions.hostUsers": [false],
  "ingress.enabled": [true, { ingress: { host: "a.example.org" } }],
  "ingress.className": ["nginx", { ingress: HOST }],
  "ingress.host": ["b.example.org", { ingress: HOST }],
  "ingress.path": ["/argus", { ingress: HOST }],
  "ingress.tlsSecretName": ["tls", { ingress: HOST }],
  "ingress.annotations": [{ a: "b" }, { ingress: HOST }],
  "httpRoute.enabled": [true, { httpRoute: { ...ROUTE, enabled: false } }],
  "httpRoute.parentRefs": [[{ name: "other" }], { httpRoute: ROUTE }],
  "httpRoute.hostnames": [["a.example.org"], { httpRoute: ROUTE }],
  "httpRoute.path": ["/argus", { httpRoute: ROUTE }],
  "crds.enabled": [false],
  "crds.keep": [false],
  "rbac.create": [false],
  "rbac.tokenReview": [false],
  "rbac.aggregate": [false],
  "networkPolicy.enabled": [false],
  "networkPolicy.clientsFrom": [peer],
  "networkPolicy.metricsFrom": [peer],
  "networkPolicy.apiServerPorts": [[16443]],
  "networkPolicy.modelCidrs": [["10.0.0.0/8"]],
  "podDisruptionBudget.enabled": [false],
  "serviceMonitor.enabled": [true],
  "serviceMonitor.interval": ["5s", { serviceMonitor: { enabled: true } }],
  "serviceMonitor.labels": [{ a: "b" }, { serviceMonitor: { enabled: true } }],
  "admissionPolicy.enabled": [true],
  "admissionPolicy.requireDigest": [
    false,
    { admissionPolicy: { ...POLICY, requireLimits: true, requireDigest: true } },
  ],
  "admissionPolicy.allowedImages": [["a/"], { admissionPolicy: POLICY }],
  "admissionPolicy.requireLimits": [true, { admissionPolicy: POLICY }],
  "quota.enabled": [true],
  "quota.sessions": [7, { quota: { enabled: true } }],
  "quota.crons": [7, { quota: { enabled: true } }],
  "tests.enabled": [false],
  ...both({
    logLevel: ["debug"],
    "resources.requests.cpu": ["1m"],
    "resources.requests.memory": ["1Mi"],
    "resources.requests.ephemeral-storage": ["1Mi"],
    "resources.limits.cpu": ["9"],
    "resources.limits.memory": ["9Gi"],
    "resources.limits.ephemeral-storage": ["9Gi"],
    nodeSelector: [{ a: "b" }],
    tolerations: [[{ operator: "Exists" }]],
    affinity: [{ nodeAffinity: {} }],
    priorityClassName: ["high"],
    podAnnotations: [{ a: "b" }],
  }),
};

function both(
  fields: Record<string, [value: unknown]>,
): Record<string, [value: unknown, beside?: Values]> {
  const of = (process: string) =>
    Object.entries(fields).map(([name, value]) => [`${process}.${name}`, value] as const);
  const bot = of("telegram").map(([name, [value]]) => [name, [value, BOT]] as const);
  const hook = of("webhook").map(([name, [value]]) => [name, [value, HOOK]] as const);
  return Object.fromEntries([...of("controller"), ...of("gateway"), ...bot, ...hook]);
}

/** `nested("a.b", 1)` = `{a: {b: 1}}`. */
export function nested(path: string, value: unknown): object {
  const [first = "", ...rest] = path.split(".");
  return { [first]: rest.length > 0 ? nested(rest.join("."), value) : value };
}

/** `over` laid over `base`; lists are replaced. */
export function merge(base: object, over: object): object {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const old = merged[key];
    const areMaps = [old, value].every((each) => typeof each === "object" && !Array.isArray(each));
    merged[key] = areMaps && old ? merge(old, value as object) : value;
  }
  return merged;
}
