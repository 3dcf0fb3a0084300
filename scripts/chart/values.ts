import { z } from "zod";
import { ArgusSessionSpec } from "#crds/argus-session.ts";
import { Telegram, Webhook } from "./channel-values.ts";
import {
  count,
  flag,
  freeList,
  httpUrl,
  image,
  logLevel,
  objectName,
  placement,
  quantity,
  resources,
  secretEntry,
  stringMap,
  text,
} from "./value-types.ts";

const tcpPort = () => z.int().min(1).max(65_535);
const cidr = () => z.string().regex(/^[0-9a-fA-F.:]+\/\d{1,3}$/);

const Controller = z.strictObject({
  replicas: count("1, or 2 for a warm stand-by; the Lease lets one act", {
    least: 1,
    most: 2,
    fallback: 1,
  }),
  logLevel: logLevel(),
  uidRange: z
    .string()
    .regex(/^[1-9]\d{0,9}-[1-9]\d{0,9}$/)
    .default("200000-265535")
    .meta({ description: "User ids that sessions get, first-last; never shrink it" }),
  resources: resources(
    { cpu: "50m", memory: "128Mi", "ephemeral-storage": "64Mi" },
    { cpu: "1", memory: "384Mi", "ephemeral-storage": "256Mi" },
  ),
  ...placement,
});

const Persistence = z.strictObject({
  enabled: flag(
    "Keep the gateway's state on a volume; false loses accepted messages with the pod. Not asked for with gateway.store.kind configmap",
    true,
  ),
  size: quantity().default("2Gi").meta({ description: "Size of the volume" }),
  storageClassName: objectName("StorageClass; the cluster's default when empty"),
  accessMode: z.enum(["ReadWriteOncePod", "ReadWriteOnce"]).default("ReadWriteOncePod").meta({
    description: "ReadWriteOnce where the storage driver does not offer ReadWriteOncePod",
  }),
});

const StoreValues = z.strictObject({
  kind: z.enum(["file", "configmap"]).default("file").meta({
    description:
      "Where accepted messages are kept: on the volume, or in ConfigMaps for a small installation without one",
  }),
  allowNetworkFileSystem: flag(
    "Take a volume on a network file system, whose locks may lie",
    false,
  ),
});

const secretNames = (description: string) =>
  z
    .array(
      z
        .string()
        .min(1)
        .max(253)
        .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/),
    )
    .max(64)
    .default([])
    .meta({ description });

const Gateway = z.strictObject({
  logLevel: logLevel(),
  store: StoreValues.prefault({}),
  persistence: Persistence.prefault({}),
  service: z
    .strictObject({
      port: tcpPort().min(1024).default(8080).meta({
        description:
          "Port of Service and pod, the same: policies of session pods speak of the pod's, their URL of the Service's",
      }),
      annotations: stringMap("Annotations of the Service"),
    })
    .prefault({}),
  webhookSecrets: secretNames("Secrets of this namespace that spec.webhooks of sessions may name"),
  mcpSecrets: secretNames("Secrets of this namespace that spec.mcpServers of sessions may name"),
  resources: resources(
    { cpu: "100m", memory: "192Mi", "ephemeral-storage": "64Mi" },
    { cpu: "2", memory: "1Gi", "ephemeral-storage": "256Mi" },
  ),
  ...placement,
});

const Model = z.strictObject({
  upstream: httpUrl()
    .default("https://api.openai.com/v1")
    .meta({ description: "Where the gateway's model proxy sends requests" }),
  name: text("Model name for Codex; its own default when empty"),
  key: text("Key of the model; better: existingSecret"),
  existingSecret: objectName("Secret of yours that holds the key of the model"),
  existingSecretKey: secretEntry("key"),
});

const AdminToken = z.strictObject({
  existingSecret: objectName(
    "Secret of yours with the admin token; else one is made once and kept over upgrades",
  ),
  existingSecretKey: secretEntry("token"),
});

/** Defaults stay the API server's, so the spec is kept as it is written. */
export const SessionTemplate = z.looseObject({}).superRefine((spec, context) => {
  for (const issue of ArgusSessionSpec.safeParse(spec).error?.issues ?? []) {
    context.addIssue({ code: "custom", message: issue.message, path: issue.path });
  }
});

const Sessions = z.strictObject({
  template: SessionTemplate.default({}).meta({
    description: "Spec of a session that the gateway makes on a client's request",
  }),
  transcribe: text(
    "Shell text that prints what is said in the sound file $1, of sessions that name none; nobody listens to voice messages when empty",
  ),
  hostUsers: z.boolean().default(true).meta({
    description:
      "false gives each session pod a user namespace of its own, where nodes and runtime offer it",
  }),
});

const Ingress = z.strictObject({
  enabled: flag("Publish the gateway by an Ingress", false),
  className: objectName("IngressClass; the cluster's default when empty"),
  host: text("Host name, required when enabled"),
  path: z.string().regex(/^\//).default("/").meta({ description: "Path prefix" }),
  tlsSecretName: objectName("Secret with the certificate; without one nothing is encrypted"),
  annotations: stringMap(
    "Further annotations; the time-outs of long WebSockets are set for ingress-nginx, HAProxy and Traefik",
  ),
});

const HttpRoute = z.strictObject({
  enabled: flag("Publish the gateway by a Gateway API HTTPRoute", false),
  parentRefs: freeList("Gateways that the route hangs on, required when enabled"),
  hostnames: z.array(z.string().max(253)).default([]).meta({ description: "Host names" }),
  path: z.string().regex(/^\//).default("/").meta({ description: "Path prefix" }),
});

const NetworkPolicyValues = z.strictObject({
  enabled: flag("Deny what controller and gateway do not need", true),
  clientsFrom: freeList("Peers that may reach the gateway (NetworkPolicy peers); empty = all"),
  metricsFrom: freeList("Peers that may read the controller's metrics; empty = this namespace"),
  apiServerPorts: z.array(tcpPort()).min(1).default([443, 6443]).meta({
    description: "Ports of the Kubernetes API server, as pods see it",
  }),
  modelCidrs: z.array(cidr()).default([]).meta({
    description: "Where the model's upstream is; empty = everywhere but link-local addresses",
  }),
});

const Admission = z.strictObject({
  enabled: flag("A ValidatingAdmissionPolicy for ArgusSessions of this namespace", false),
  requireDigest: flag("Images must be named by digest", true),
  allowedImages: z
    .array(z.string().min(1).max(512))
    .max(32)
    .default([])
    .meta({ description: "Prefixes of images that sessions may use; empty = any" }),
  requireLimits: flag("spec.resources.limits must name cpu and memory", false),
});

/** All values of charts/argus: values.yaml, values.schema.json and the table in the docs are made from it. */
export const ChartValues = z.strictObject({
  nameOverride: objectName("Name of the chart in names of objects"),
  fullnameOverride: objectName("Prefix of names of objects; else release and chart"),
  commonLabels: stringMap("Labels of every object"),
  image: image("controller and gateway", "argus"),
  runtimeImage: image("session pods that name none", "argus-runtime"),
  imagePullPolicy: z
    .enum(["IfNotPresent", "Always", "Never"])
    .default("IfNotPresent")
    .meta({ description: "When nodes pull the control plane's image" }),
  imagePullSecrets: z
    .array(z.strictObject({ name: z.string().min(1).max(253) }))
    .default([])
    .meta({ description: "Secrets for a private registry, also used by session pods" }),
  controller: Controller.prefault({}),
  gateway: Gateway.prefault({}),
  telegram: Telegram.prefault({}),
  webhook: Webhook.prefault({}),
  model: Model.prefault({}),
  adminToken: AdminToken.prefault({}),
  sessions: Sessions.prefault({}),
  ingress: Ingress.prefault({}),
  httpRoute: HttpRoute.prefault({}),
  crds: z
    .strictObject({
      enabled: flag("Install and upgrade the CustomResourceDefinitions with the release", true),
      keep: flag("Leave them, and so all sessions, in place at uninstall", true),
    })
    .prefault({}),
  rbac: z
    .strictObject({
      create: flag("Make Roles and RoleBindings", true),
      tokenReview: flag(
        "A ClusterRole that lets the gateway ask for TokenReviews; without it the issuer's public keys decide",
        true,
      ),
      aggregate: flag("Add Argus' kinds to the cluster's roles view, edit and admin", true),
    })
    .prefault({}),
  networkPolicy: NetworkPolicyValues.prefault({}),
  podDisruptionBudget: z
    .strictObject({ enabled: flag("A PodDisruptionBudget each, maxUnavailable 1", true) })
    .prefault({}),
  serviceMonitor: z
    .strictObject({
      enabled: flag("A ServiceMonitor of the Prometheus operator for the controller", false),
      interval: z
        .string()
        .regex(/^\d+(s|m)$/)
        .default("30s")
        .meta({ description: "Pause between two reads" }),
      labels: stringMap("Labels that the operator selects by"),
    })
    .prefault({}),
  admissionPolicy: Admission.prefault({}),
  quota: z
    .strictObject({
      enabled: flag("A ResourceQuota on the number of sessions and schedules", false),
      sessions: count("ArgusSessions at most", { least: 0, most: 100_000, fallback: 100 }),
      crons: count("ArgusCrons at most", { least: 0, most: 100_000, fallback: 100 }),
    })
    .prefault({}),
  tests: z.strictObject({ enabled: flag("The pod of `helm test`", true) }).prefault({}),
  global: z.looseObject({}).optional().meta({
    description: "Of a chart that has this one as a part; not read here",
  }),
});
export type ChartValues = z.output<typeof ChartValues>;
export type ChartValuesInput = z.input<typeof ChartValues>;
