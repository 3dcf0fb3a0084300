import type { Values } from "#test/support/chart.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

/** Installations as people have them; every test of the rendered chart runs over all of them. */
export const VALUE_SETS: Record<string, Values> = {
  "as it is": {},
  "warm stand-by": { controller: { replicas: 2 }, gateway: { priorityClassName: "high" } },
  "key in the values": { model: { key: "sk-secret", name: "gpt-5" } },
  "secrets of one's own": {
    adminToken: { existingSecret: "own-admin", existingSecretKey: "admin" },
    model: { existingSecret: "own-model", existingSecretKey: "api-key" },
  },
  "model in the cluster": {
    model: { upstream: "http://vllm.models.svc:8000/v1", name: "local" },
    networkPolicy: { modelCidrs: ["10.0.0.0/8"] },
  },
  "ingress with TLS": {
    ingress: {
      enabled: true,
      className: "nginx",
      host: "argus.example.org",
      tlsSecretName: "argus-tls",
      annotations: { "nginx.ingress.kubernetes.io/proxy-body-size": "1m" },
    },
    networkPolicy: {
      clientsFrom: [
        { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "ingress" } } },
      ],
    },
  },
  "Telegram bot": {
    telegram: { enabled: true, existingSecret: "own-bot", owners: ["12345"], members: ["6", "7"] },
  },
  "Telegram bot by a server of one's own": {
    telegram: {
      enabled: true,
      replicas: 2,
      token: "123456:secret-of-botfather",
      apiRoot: "http://bot-api.chat.svc:8081",
    },
  },
  "Telegram bot with a webhook": {
    telegram: { enabled: true, existingSecret: "own-bot", webhook: "https://bot.example.org/hook" },
  },
  "webhook adapter": {
    webhook: {
      enabled: true,
      urls: ["billing*=http://billing.shop.svc:8080/argus", "https://receiver.example.org/argus"],
      secret: "a key of sixteen or more",
    },
  },
  "gateway API": {
    httpRoute: {
      enabled: true,
      parentRefs: [{ name: "public" }],
      hostnames: ["argus.example.org"],
    },
  },
  "mirrored by digest": {
    image: { repository: "mirror.example.org/argus", digest: DIGEST },
    runtimeImage: { repository: "mirror.example.org/argus-runtime", digest: DIGEST },
    imagePullSecrets: [{ name: "mirror" }],
  },
  "no rights beyond the namespace": {
    crds: { enabled: false },
    rbac: { tokenReview: false, aggregate: false },
  },
  "guarded tenants": {
    admissionPolicy: {
      enabled: true,
      allowedImages: ["mirror.example.org/argus"],
      requireLimits: true,
    },
    quota: { enabled: true, sessions: 5, crons: 10 },
    sessions: {
      hostUsers: false,
      template: { approvals: "untrusted", idle: { suspendAfterSeconds: 3600 } },
    },
  },
  observed: {
    serviceMonitor: { enabled: true, interval: "15s", labels: { release: "prometheus" } },
    networkPolicy: { metricsFrom: [{ namespaceSelector: {} }] },
    commonLabels: { team: "assistants" },
  },
  "state in ConfigMaps": {
    gateway: { store: { kind: "configmap" } },
  },
  "small and temporary": {
    fullnameOverride: "a",
    gateway: { persistence: { enabled: false } },
    podDisruptionBudget: { enabled: false },
    networkPolicy: { enabled: false },
    tests: { enabled: false },
  },
};
