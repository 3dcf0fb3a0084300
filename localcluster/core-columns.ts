import { at, type Fields, isFields, type StoredObject, textOf } from "./object.ts";
import { AGE_COLUMN, age, type Column, NAME_COLUMN } from "./table.ts";

const text = (value: unknown, absent = "") => textOf(value) || absent;
const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.filter(isFields) : []);
const size = (value: unknown) => (isFields(value) ? Object.keys(value).length : 0);

const column = (name: string, value: Column["value"], type = "string"): Column => ({
  name,
  type,
  value,
});
const wide = (name: string, value: Column["value"]): Column => ({
  ...column(name, value),
  priority: 1,
});
const path = (name: string, keys: string, absent = ""): Column =>
  column(name, (object) => text(at(object, ...keys.split(".")), absent));

const statuses = (pod: StoredObject) => list(at(pod, "status", "containerStatuses"));

function podReady(pod: StoredObject): string {
  const ready = statuses(pod).filter((status) => status.ready === true).length;
  return `${ready}/${list(at(pod, "spec", "containers")).length}`;
}

/** The most telling word: a container's reason, else the pod's reason, else its phase. */
function podStatus(pod: StoredObject): string {
  const reasons = statuses(pod).flatMap(({ state }) => {
    const reason = at(state, "waiting", "reason") ?? at(state, "terminated", "reason");
    const code = at(state, "terminated", "exitCode");
    return reason ?? (code === undefined ? [] : `ExitCode:${textOf(code)}`);
  });
  const phase = text(at(pod, "status", "reason") ?? at(pod, "status", "phase"), "Unknown");
  const anyRunning = statuses(pod).some(({ state }) => at(state, "running") !== undefined);
  const status = text(reasons.at(-1), phase);
  if (pod.metadata.deletionTimestamp) return "Terminating";
  return status === "Completed" && anyRunning ? "Running" : status;
}

function podRestarts(pod: StoredObject, nowMs: number): string {
  const count = statuses(pod).reduce((sum, status) => sum + Number(status.restartCount ?? 0), 0);
  const ends = statuses(pod)
    .map((status) => text(at(status, "lastState", "terminated", "finishedAt")))
    .toSorted();
  const last = ends.at(-1);
  return last ? `${count} (${age(last, nowMs)} ago)` : `${count}`;
}

function nodeStatus(node: StoredObject): string {
  const ready = list(at(node, "status", "conditions")).find(({ type }) => type === "Ready");
  const word = ready?.status === "True" ? "Ready" : ready ? "NotReady" : "Unknown";
  return at(node, "spec", "unschedulable") ? `${word},SchedulingDisabled` : word;
}

function nodeAddress(node: StoredObject): string {
  const found = list(at(node, "status", "addresses")).find(({ type }) => type === "InternalIP");
  return text(found?.address, "<none>");
}

const eventObject = (event: StoredObject) => {
  const about = event.involvedObject;
  return `${text(at(about, "kind")).toLowerCase()}/${text(at(about, "name"))}`;
};
const eventTime = (event: StoredObject) =>
  at(event, "series", "lastObservedTime") ?? event.lastTimestamp ?? event.eventTime;

const ports = (service: StoredObject) =>
  list(at(service, "spec", "ports"))
    .map(({ port, protocol }) => `${text(port)}/${text(protocol, "TCP")}`)
    .join(",");

const MIDDLE: Record<string, Column[]> = {
  pods: [
    column("Ready", podReady),
    column("Status", podStatus),
    column("Restarts", podRestarts),
    AGE_COLUMN,
    wide("IP", (pod) => text(at(pod, "status", "podIP"), "<none>")),
    wide("Node", (pod) => text(at(pod, "spec", "nodeName"), "<none>")),
    wide("Nominated Node", (pod) => text(at(pod, "status", "nominatedNodeName"), "<none>")),
    wide("Readiness Gates", () => "<none>"),
  ],
  persistentvolumeclaims: [
    path("Status", "status.phase"),
    path("Volume", "spec.volumeName"),
    path("Capacity", "status.capacity.storage"),
    column("Access Modes", (claim) => accessModes(at(claim, "status", "accessModes"))),
    path("StorageClass", "spec.storageClassName"),
    column("VolumeAttributesClass", () => "<unset>"),
    AGE_COLUMN,
    wide("VolumeMode", (claim) => text(at(claim, "spec", "volumeMode"))),
  ],
  secrets: [
    path("Type", "type"),
    column("Data", (secret) => size(secret.data), "integer"),
    AGE_COLUMN,
  ],
  configmaps: [
    column("Data", (map) => size(map.data) + size(map.binaryData), "integer"),
    AGE_COLUMN,
  ],
  namespaces: [path("Status", "status.phase"), AGE_COLUMN],
  nodes: [
    column("Status", nodeStatus),
    column("Roles", () => "<none>"),
    AGE_COLUMN,
    path("Version", "status.nodeInfo.kubeletVersion"),
    wide("Internal-IP", nodeAddress),
  ],
  serviceaccounts: [AGE_COLUMN],
  services: [
    path("Type", "spec.type"),
    path("Cluster-IP", "spec.clusterIP", "<none>"),
    column("External-IP", () => "<none>"),
    column("Port(s)", (service) => text(ports(service), "<none>")),
    AGE_COLUMN,
  ],
  leases: [path("Holder", "spec.holderIdentity"), AGE_COLUMN],
  storageclasses: [
    path("Provisioner", "provisioner"),
    path("ReclaimPolicy", "reclaimPolicy"),
    path("VolumeBindingMode", "volumeBindingMode"),
    column("AllowVolumeExpansion", (sc) => sc.allowVolumeExpansion === true, "boolean"),
    AGE_COLUMN,
  ],
  customresourcedefinitions: [
    column("Created At", ({ metadata }) => metadata.creationTimestamp ?? ""),
  ],
};

const EVENT_COLUMNS: Column[] = [
  column("Last Seen", (event, nowMs) => age(eventTime(event), nowMs)),
  path("Type", "type"),
  path("Reason", "reason"),
  column("Object", eventObject),
  { ...path("Subobject", "involvedObject.fieldPath"), priority: 1 },
  { ...path("Source", "source.component"), priority: 1 },
  path("Message", "message"),
  { ...path("Count", "count"), priority: 1 },
  { ...NAME_COLUMN, priority: 1 },
];

const MODES: Record<string, string> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};

function accessModes(modes: unknown): string {
  return Array.isArray(modes) ? modes.map((mode) => MODES[String(mode)] ?? mode).join(",") : "";
}

/** What `kubectl get` shows of a built-in kind. */
export function coreColumns(plural: string): Column[] {
  if (plural === "events") return EVENT_COLUMNS;
  return [NAME_COLUMN, ...(MIDDLE[plural] ?? [AGE_COLUMN])];
}
