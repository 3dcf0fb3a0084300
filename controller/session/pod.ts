import type { Container, EnvVar, Pod, PodSpec, Resources, Volume } from "#cluster/core-types.ts";
import { childName, ownerReference } from "#cluster/objects.ts";
import { argusSessions } from "#cluster/resources.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { GATEWAY_AUDIENCE, LABEL, POD, POD_ENV } from "#protocol/pod.ts";
import { networkLabels } from "../network/policies.ts";
import { claimName, claimTemplates, homeTemplate, sessionLabels } from "./claims.ts";
import { resourcesWith } from "./container-resources.ts";
import { mergePodSpec } from "./merge.ts";
import { pidLimitOf } from "./pid-resource.ts";
import { runtimeSpec } from "./runtime-spec.ts";
import { podHash, specHash } from "./spec-hash.ts";

/** What the installation gives to every session pod. */
export interface PodSettings {
  defaultImage: string;
  gatewayUrl: string;
  model?: string | undefined;
  /** Shell text that transcribes sound; undefined = nobody listens. */
  transcribe?: string | undefined;
  /** false = pods get user namespaces of their own where nothing speaks against it. */
  hostUsers?: boolean | undefined;
  /** Whether the API server takes `pids` among a container's limits. */
  pidLimits?: boolean | undefined;
}

/** With a user namespace of its own only ids up to 65535 exist in a pod, and nothing is shared. */
export const USER_NAMESPACE_UID = 1000;
const TERMINATION_LOG = "/dev/termination-log";
const TOKEN_SECONDS = 3600;
const VOLUME = { temporary: "argus-tmp", keys: "argus-keys", token: "argus-token" } as const;

export function podName({ metadata }: ArgusSession): string {
  return childName({ name: metadata.name, uid: metadata.uid ?? "" });
}

/**
 * The user id of the session's pod; undefined = one must be claimed. Files on its volumes belong to it, so whoever has an id keeps
 * it when the installation's wish for user namespaces changes.
 */
export function uidFor(
  { spec, status }: Pick<ArgusSession, "spec" | "status">,
  claimed: number | undefined,
  { hostUsers }: Pick<PodSettings, "hostUsers">,
): number | undefined {
  const asked = spec.podTemplate?.spec?.hostUsers;
  if (asked === false) return USER_NAMESPACE_UID;
  if (asked === true || claimed !== undefined) return claimed;
  const own = hostUsers === false || status?.runAsUser === USER_NAMESPACE_UID;
  return own ? USER_NAMESPACE_UID : undefined;
}

/**
 * The session's pod: our defaults, the session's podTemplate over them, then everything that keeps the pod safe and working.
 * The template has been checked by `violations`.
 */
export function buildPod(session: ArgusSession, uid: number, settings: PodSettings): Pod {
  const pod = unsigned(session, uid, settings);
  const annotations = { ...pod.metadata.annotations, [LABEL.podHash]: podHash(pod) };
  return { ...pod, metadata: { ...pod.metadata, annotations } };
}

function unsigned(session: ArgusSession, uid: number, settings: PodSettings): Pod {
  const { name, namespace = "" } = session.metadata;
  const template = session.spec.podTemplate;
  const merged = mergePodSpec(defaultSpec(session, settings), template?.spec);
  const [agent, ...others] = merged.containers;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(session),
      namespace,
      labels: {
        ...template?.metadata?.labels,
        [LABEL.part]: "session",
        ...sessionLabels(session),
        ...networkLabels(session),
      },
      annotations: {
        ...template?.metadata?.annotations,
        [LABEL.specHash]: specHash(session, settings.gatewayUrl),
        [LABEL.sessionName]: name,
      },
      ownerReferences: [ownerReference(argusSessions, session)],
    },
    spec: {
      ...enforce(merged, session, uid),
      containers: [
        ...(agent ? [agentContainer(agent, session, settings)] : []),
        ...others.map(restricted),
      ],
    },
  };
}

/** What a podTemplate may change. */
function defaultSpec(session: ArgusSession, settings: PodSettings): PodSpec {
  const { runtime, resources } = session.spec;
  return {
    restartPolicy: "Always",
    terminationGracePeriodSeconds: 30,
    containers: [
      {
        name: POD.container,
        image: imageOf(session, settings),
        imagePullPolicy: "IfNotPresent",
        env: runtime.env ?? [],
        resources: resourcesWith(resources),
      },
    ],
    volumes: [],
  };
}

function imageOf({ spec }: ArgusSession, { defaultImage }: PodSettings): string {
  const containers = (spec.podTemplate?.spec?.containers ?? []) as Container[];
  const templated = containers.find(({ name }) => name === POD.container)?.image;
  return spec.runtime.image ?? templated ?? defaultImage;
}

/** What no podTemplate can change. */
function enforce(merged: PodSpec, session: ArgusSession, uid: number): PodSpec {
  return {
    ...merged,
    ...(uid === USER_NAMESPACE_UID ? { hostUsers: false } : {}),
    hostname: podName(session),
    serviceAccountName: POD.serviceAccount,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: uid,
      runAsGroup: uid,
      fsGroup: uid,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...(merged.initContainers ? { initContainers: merged.initContainers.map(restricted) } : {}),
    volumes: [...(merged.volumes ?? []), ...ownVolumes(session)],
  };
}

function restricted(container: Container): Container {
  return {
    ...container,
    resources: resourcesWith(container.resources),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      readOnlyRootFilesystem: true,
    },
  };
}

function agentContainer(
  merged: Container,
  session: ArgusSession,
  settings: PodSettings,
): Container {
  const image = imageOf(session, settings);
  const { model, transcribe } = settings;
  const { bridge, probe } = POD.ports;
  const own = [
    { name: bridge.name, containerPort: bridge.number, protocol: "TCP" },
    { name: probe.name, containerPort: probe.number, protocol: "TCP" },
  ];
  const foreign = (merged.ports ?? []).filter(
    (port) =>
      !own.some((each) => each.name === port.name || each.containerPort === port.containerPort),
  );
  return {
    ...restricted(merged),
    ...(settings.pidLimits ? { resources: withPids(merged, session) } : {}),
    image,
    command: ["argus", "bridge"],
    args: [],
    env: ownEnv(merged.env ?? [], session, {
      runtime: literal(JSON.stringify(runtimeSpec(session, { image, model, transcribe }))),
      gatewayUrl: settings.gatewayUrl,
    }),
    ports: [...own, ...foreign],
    volumeMounts: ownMounts(merged, session),
    readinessProbe: { ...probing("/readyz"), periodSeconds: 2, failureThreshold: 2 },
    livenessProbe: { ...probing("/livez"), periodSeconds: 10, failureThreshold: 6 },
    terminationMessagePath: TERMINATION_LOG,
    terminationMessagePolicy: "File",
  };
}

function withPids(merged: Container, { spec }: ArgusSession): Resources {
  const resources = resourcesWith(merged.resources);
  return { ...resources, limits: { ...resources.limits, pids: pidLimitOf(spec.limits.pids) } };
}

function probing(path: string) {
  return { httpGet: { path, port: POD.ports.probe.name }, timeoutSeconds: 2 };
}

/** Ours come last and alone: nothing else may set these names. */
function ownEnv(
  wanted: EnvVar[],
  session: ArgusSession,
  { runtime, gatewayUrl }: { runtime: string; gatewayUrl: string },
): EnvVar[] {
  const field = (name: string, fieldPath: string) => ({
    name,
    valueFrom: { fieldRef: { fieldPath } },
  });
  const { name, namespace = "", uid = "" } = session.metadata;
  const own: EnvVar[] = [
    { name: POD_ENV.session, value: name },
    { name: POD_ENV.namespace, value: namespace },
    { name: POD_ENV.sessionUid, value: uid },
    field(POD_ENV.podUid, "metadata.uid"),
    field(POD_ENV.podName, "metadata.name"),
    field(POD_ENV.podIp, "status.podIP"),
    { name: POD_ENV.runtime, value: runtime },
    { name: POD_ENV.gatewayUrl, value: gatewayUrl },
    { name: POD_ENV.home, value: POD.home },
    { name: POD_ENV.workspace, value: POD.workspace },
    { name: POD_ENV.temporary, value: POD.temporary },
    { name: POD_ENV.tokenFile, value: POD.tokenFile },
    { name: POD_ENV.keysFolder, value: POD.keysFolder },
    { name: POD_ENV.terminationLog, value: TERMINATION_LOG },
    { name: POD_ENV.pids, value: String(session.spec.limits.pids) },
  ];
  return [...wanted.filter((each) => !own.some(({ name }) => name === each.name)), ...own];
}

function ownMounts(merged: Container, session: ArgusSession) {
  const own = [
    { name: homeTemplate(session), mountPath: POD.home },
    { name: VOLUME.temporary, mountPath: POD.temporary },
    { name: VOLUME.keys, mountPath: POD.keysFolder, readOnly: true },
    { name: VOLUME.token, mountPath: folderOf(POD.tokenFile), readOnly: true },
  ];
  const foreign = (merged.volumeMounts ?? []).filter(
    ({ mountPath }) => !own.some((each) => each.mountPath === mountPath),
  );
  return [...own, ...foreign];
}

function ownVolumes(session: ArgusSession): Volume[] {
  const claims = claimTemplates(session).map(({ metadata: { name } }) => ({
    name,
    persistentVolumeClaim: { claimName: claimName(session, name) },
  }));
  const token = {
    path: POD.tokenFile.slice(folderOf(POD.tokenFile).length + 1),
    audience: GATEWAY_AUDIENCE,
    expirationSeconds: TOKEN_SECONDS,
  };
  return [
    ...claims,
    { name: VOLUME.temporary, emptyDir: { sizeLimit: "1Gi" } },
    { name: VOLUME.keys, configMap: { name: POD.keysConfigMap } },
    { name: VOLUME.token, projected: { sources: [{ serviceAccountToken: token }] } },
  ];
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** Kubernetes expands `$(NAME)` in values and reads `$$` as one `$`. */
function literal(value: string): string {
  return value.replaceAll("$", "$$$$");
}
