import type { Container, PodSpec } from "#cluster/core-types.ts";
import type { Rendered } from "#test/support/chart.ts";
import { selects } from "#test/support/network-policy.ts";

type Json = Record<string, unknown>;

/** One demand of kube-linter, kube-score, polaris or the restricted Pod Security Standard. */
export interface Rule {
  name: string;
  /** What breaks it, one sentence each. */
  findings(objects: Rendered[]): string[];
}

interface Workload {
  where: string;
  kind: string;
  labels: Record<string, string>;
  pod: PodSpec;
}

const WORKLOADS = ["Deployment", "StatefulSet", "DaemonSet", "Job", "Pod"];
const SERVED = ["Deployment", "StatefulSet"];

/** Every pod that the chart brings, directly or by a template. */
export function workloads(objects: Rendered[]): Workload[] {
  return objects
    .filter(({ kind }) => WORKLOADS.includes(kind))
    .map((object) => {
      const template = object.kind === "Pod" ? object : (object.spec?.template as Rendered);
      return {
        where: `${object.kind} ${object.metadata.name}`,
        kind: object.kind,
        labels: template.metadata.labels ?? {},
        pod: template.spec as unknown as PodSpec,
      };
    });
}

const onPods = (
  name: string,
  wrong: (workload: Workload, objects: Rendered[]) => boolean,
): Rule => ({
  name,
  findings: (objects) =>
    workloads(objects)
      .filter((workload) => wrong(workload, objects))
      .map(({ where }) => `${where}: ${name}`),
});

const onContainers = (
  name: string,
  wrong: (container: Container, workload: Workload) => boolean,
): Rule => ({
  name,
  findings: (objects) =>
    workloads(objects).flatMap((workload) =>
      [...workload.pod.containers, ...(workload.pod.initContainers ?? [])]
        .filter((container) => wrong(container, workload))
        .map((container) => `${workload.where}/${container.name}: ${name}`),
    ),
});

const context = (of: { securityContext?: Json }): Json => of.securityContext ?? {};
const sizes = ["cpu", "memory", "ephemeral-storage"];
const has = (map: object | undefined, keys: string[]) =>
  keys.every((key) => map !== undefined && key in map);

export const RULES: Rule[] = [
  onContainers("runs as a named user above 10000, never root", (container) => {
    const { runAsNonRoot, runAsUser, runAsGroup } = context(container);
    return !(runAsNonRoot === true && Number(runAsUser) > 10_000 && Number(runAsGroup) > 10_000);
  }),
  onContainers(
    "root file system is read-only",
    (container) => context(container).readOnlyRootFilesystem !== true,
  ),
  onContainers("drops all capabilities and adds none", (container) => {
    const { drop, add } = (context(container).capabilities ?? {}) as Json;
    return JSON.stringify(drop) !== '["ALL"]' || add !== undefined;
  }),
  onContainers(
    "no privilege escalation",
    (container) =>
      context(container).allowPrivilegeEscalation !== false ||
      context(container).privileged !== false,
  ),
  onContainers(
    "seccomp profile of the runtime",
    (container) =>
      (context(container).seccompProfile as Json | undefined)?.type !== "RuntimeDefault",
  ),
  onContainers("requests and limits of cpu, memory and disk", ({ resources }) => {
    return !has(resources?.requests, sizes) || !has(resources?.limits, sizes);
  }),
  onContainers(
    "liveness and readiness probes that differ",
    ({ livenessProbe, readinessProbe }, { kind }) =>
      SERVED.includes(kind) &&
      (!livenessProbe ||
        !readinessProbe ||
        JSON.stringify((livenessProbe as Json).httpGet) ===
          JSON.stringify((readinessProbe as Json).httpGet)),
  ),
  onContainers("no probe runs a program", (container) =>
    ["livenessProbe", "readinessProbe", "startupProbe"].some(
      (probe) => (container[probe] as Json | undefined)?.exec !== undefined,
    ),
  ),
  onContainers(
    "image by tag or digest, never latest",
    ({ image = "" }) =>
      !/(:[\w][\w.-]*|@sha256:[0-9a-f]{64})$/.test(image) || image.endsWith(":latest"),
  ),
  onContainers(
    "pull policy IfNotPresent",
    ({ imagePullPolicy }) => imagePullPolicy !== "IfNotPresent",
  ),
  onContainers("no secret in the environment", ({ env = [] }) =>
    env.some(
      ({ name, value, valueFrom }) =>
        valueFrom?.secretKeyRef !== undefined ||
        (/(TOKEN|KEY|PASSWORD|SECRET)$/.test(name) && value !== undefined),
    ),
  ),
  onContainers("no variable twice", ({ env = [] }) => {
    return new Set(env.map(({ name }) => name)).size < env.length;
  }),
  onContainers("no port of the node", ({ ports = [] }) =>
    ports.some(({ hostPort }) => hostPort !== undefined),
  ),
  onPods("nothing of the node is shared", ({ pod }) =>
    ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"].some((field) => pod[field]),
  ),
  onPods("no volume of the node", ({ pod }) =>
    (pod.volumes ?? []).some((volume) => "hostPath" in volume),
  ),
  onPods("every emptyDir has a bound", ({ pod }) =>
    (pod.volumes ?? []).some(
      ({ emptyDir }) => emptyDir !== undefined && !(emptyDir as Json | null)?.sizeLimit,
    ),
  ),
  onPods("an account of its own", ({ pod }, objects) => {
    const accounts = objects.filter(({ kind }) => kind === "ServiceAccount");
    return !accounts.some(({ metadata }) => metadata.name === pod.serviceAccountName);
  }),
  onPods(
    "says whether it gets a token of the API server",
    ({ pod }) => typeof pod.automountServiceAccountToken !== "boolean",
  ),
  {
    name: "accounts mount no token by themselves",
    findings: (objects) =>
      objects
        .filter(({ kind }) => kind === "ServiceAccount")
        .filter((account) => account.automountServiceAccountToken !== false)
        .map(({ metadata }) => `ServiceAccount ${metadata.name} mounts its token everywhere`),
  },
  onPods("no list of services in the environment", ({ pod }) => pod.enableServiceLinks !== false),
  onPods("30 s to end", ({ pod, kind }) => {
    return SERVED.includes(kind) && pod.terminationGracePeriodSeconds !== 30;
  }),
  onPods("replicas on different nodes", ({ pod, kind }) => {
    const affinity = (pod.affinity as Json | undefined)?.podAntiAffinity;
    return SERVED.includes(kind) && (!affinity || !pod.topologySpreadConstraints);
  }),
  onPods("a disruption budget", ({ kind, labels }, objects) => {
    const budgets = objects.filter((object) => object.kind === "PodDisruptionBudget");
    const own = budgets.filter(({ spec }) => selects(spec?.selector, labels));
    return SERVED.includes(kind) && !(own.length === 1 && own[0]?.spec?.maxUnavailable === 1);
  }),
  onPods("a network policy for both directions", ({ labels }, objects) => {
    const policies = objects.filter((object) => object.kind === "NetworkPolicy");
    const own = policies.filter(({ spec }) => selects(spec?.podSelector, labels));
    const types = own.flatMap(({ spec }) => spec?.policyTypes as string[]);
    return !(types.includes("Ingress") && types.includes("Egress"));
  }),
  {
    name: "services are internal and lead to a pod",
    findings: (objects) =>
      objects
        .filter(({ kind }) => kind === "Service")
        .filter(
          ({ spec }) =>
            spec?.type !== "ClusterIP" ||
            !workloads(objects).some(({ labels }) =>
              selects({ matchLabels: spec?.selector }, labels),
            ),
        )
        .map(({ metadata }) => `Service ${metadata.name} is open or leads nowhere`),
  },
  {
    name: "selectors match their own pods and nobody else's",
    findings: (objects) =>
      objects
        .filter(({ kind }) => SERVED.includes(kind))
        .filter(({ kind, metadata, spec }) => {
          const chosen = workloads(objects).filter(({ labels }) => selects(spec?.selector, labels));
          return chosen.length !== 1 || chosen[0]?.where !== `${kind} ${metadata.name}`;
        })
        .map(({ kind, metadata }) => `${kind} ${metadata.name} selects others, or not itself`),
  },
  {
    name: "stable API versions",
    findings: (objects) =>
      objects
        .filter(({ apiVersion = "" }) => /(alpha|beta)/.test(apiVersion))
        .map(({ kind, metadata }) => `${kind} ${metadata.name} is of an unstable version`),
  },
];

/** All findings of all rules. */
export function findings(objects: Rendered[]): string[] {
  return RULES.flatMap((rule) => rule.findings(objects));
}
