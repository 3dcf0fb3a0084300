import type { Container, PodSpec } from "#cluster/core-types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { POD } from "#protocol/pod.ts";
import { isMap } from "./merge.ts";

/** Volume sources that the restricted pod security standard admits. */
const VOLUME_SOURCES = [
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "image",
  "persistentVolumeClaim",
  "projected",
  "secret",
];
const HOST_FIELDS = ["hostNetwork", "hostPID", "hostIPC"];
/** Volumes with this prefix are ours. */
const OWN_PREFIX = "argus-";

/** One sentence for each thing in the session's podTemplate that a session pod may not have; empty = admissible. */
export function violations({ spec }: Pick<ArgusSession, "spec">): string[] {
  const template = (spec.podTemplate?.spec ?? {}) as Partial<PodSpec>;
  const misshapen = shapeViolations(template);
  // What has not even the right shape cannot be looked at closer.
  if (misshapen.length > 0) return misshapen;
  const claimNames = (spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name);
  return [
    ...HOST_FIELDS.filter((field) => template[field] === true).map(
      (field) => `podTemplate.spec.${field} shares the node with the agent: remove it`,
    ),
    ...(template.shareProcessNamespace === true
      ? ["podTemplate.spec.shareProcessNamespace breaks the process limit: remove it"]
      : []),
    ...containersOf(template).flatMap(containerViolations),
    ...listOf(template.volumes).flatMap((volume) => volumeViolations(volume, claimNames)),
    ...claimNames
      .filter((name) => name.startsWith(OWN_PREFIX))
      .map((name) => `volumeClaimTemplates "${name}": names with ${OWN_PREFIX} belong to Argus`),
  ];
}

/** The CRD preserves whatever podTemplate.spec holds, so its lists may be anything. */
function shapeViolations(template: Partial<PodSpec>): string[] {
  const wrong = ["containers", "initContainers", "volumes"].filter(
    (field) => !isListOf(template[field], (item) => isName(item.name)),
  );
  if (wrong.length > 0) {
    return wrong.map((field) => `podTemplate.spec.${field} must be a list of objects with a name`);
  }
  return containersOf(template).flatMap((container) =>
    ["env", "ports", "volumeMounts"]
      .filter((field) => !isListOf(container[field], () => true))
      .map(
        (field) =>
          `podTemplate.spec container "${container.name}": ${field} must be a list of objects`,
      ),
  );
}

/** Absent is well. */
function isListOf(value: unknown, test: (item: Record<string, unknown>) => boolean): boolean {
  if (value === undefined) return true;
  return Array.isArray(value) && value.every((item) => isMap(item) && test(item));
}

function isName(name: unknown): boolean {
  return typeof name === "string" && name.length > 0;
}

function containersOf(template: Partial<PodSpec>): Container[] {
  return [...listOf(template.containers), ...listOf(template.initContainers)];
}

function listOf<T>(list: T[] | undefined): T[] {
  return Array.isArray(list) ? list.filter(isMap) : [];
}

function containerViolations(container: Container): string[] {
  const context = isMap(container.securityContext) ? container.securityContext : {};
  const added = isMap(context.capabilities) ? context.capabilities.add : undefined;
  const where = `podTemplate.spec container "${container.name}"`;
  const found: [boolean, string][] = [
    [context.privileged === true, "privileged"],
    [context.allowPrivilegeEscalation === true, "allowPrivilegeEscalation"],
    [Array.isArray(added) && added.length > 0, "capabilities.add"],
    [context.runAsUser !== undefined, "runAsUser (the session has a user of its own)"],
    [listOf(container.ports).some((port) => port.hostPort !== undefined), "hostPort"],
    [container.name === POD.container && container.command !== undefined, COMMAND_ADVICE],
  ];
  return found.filter(([is]) => is).map(([, what]) => `${where}: remove ${what}`);
}

const COMMAND_ADVICE = "command (the container runs the bridge; set spec.runtime.command)";

function volumeViolations(volume: { name: string }, claimNames: string[]): string[] {
  const sources = Object.keys(volume).filter((field) => field !== "name");
  const foreign = sources.find((source) => !VOLUME_SOURCES.includes(source));
  const where = `podTemplate.spec volume "${volume.name}"`;
  if (volume.name.startsWith(OWN_PREFIX)) {
    return [`${where}: names with ${OWN_PREFIX} belong to Argus, choose another`];
  }
  if (claimNames.includes(volume.name)) return [`${where}: a volumeClaimTemplate has this name`];
  if (sources.length > 0 && foreign === undefined) return [];
  return [`${where}: ${foreign ?? "no source"} is not allowed, use ${VOLUME_SOURCES.join(", ")}`];
}
