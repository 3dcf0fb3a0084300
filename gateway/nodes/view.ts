import { ArgusError } from "#lib/errors.ts";
import type { Device } from "#protocol/device.ts";
import type { NodeRow } from "#protocol/node-methods.ts";
import type { NodeLink } from "./link.ts";

/** Devices and the session's own pod, by name. */
export function rowsOf(
  devices: readonly Device[],
  /** Id of the session's own pod; undefined = no session's. */
  own: string | undefined,
  linkOf: (id: string) => NodeLink | undefined,
): NodeRow[] {
  const rows = devices.map((device) => row(device, linkOf(device.id)));
  const pod = own === undefined ? [] : [{ id: own, name: "", platform: "", lastSeenAt: null }];
  rows.push(...pod.map((known) => row(known, linkOf(known.id))));
  return rows.toSorted((a, b) => (a.displayName < b.displayName ? -1 : 1));
}

type Known = Pick<Device, "id" | "name" | "platform" | "lastSeenAt">;

function row({ id, name, platform, lastSeenAt }: Known, link: NodeLink | undefined): NodeRow {
  const nodeId = id;
  const displayName = name || id;
  if (!link) return { ...AWAY, nodeId, displayName, platform, lastSeenMs: lastSeenAt };
  const { info, connectedAt, lastSeen } = link;
  const { version = "", caps = [], commands = [] } = info;
  return {
    nodeId,
    // As its owner confirmed it, whatever it calls itself now.
    displayName: name || info.displayName || displayName,
    platform: info.platform ?? platform,
    version,
    caps,
    commands,
    connected: true,
    connectedAtMs: connectedAt,
    lastSeenMs: lastSeen,
  };
}
const AWAY = { version: "", caps: [], commands: [], connected: false, connectedAtMs: null };

/**
 * The node that is meant: by id, by display name where that is unique, `self` or nothing = the session's own pod. Throws
 * `NotFound` with the names that there are, `InvalidInput` for an ambiguous one.
 */
export function resolveNode(
  rows: readonly NodeRow[],
  wanted: string | undefined,
  session: string,
): NodeRow {
  const own = `runtime:${session}`;
  const name = wanted === undefined || wanted.toLowerCase() === "self" ? own : wanted;
  const byId = rows.find(({ nodeId }) => nodeId === name);
  if (byId) return byId;
  const named = rows.filter(({ displayName }) => displayName.toLowerCase() === name.toLowerCase());
  const [only] = named;
  if (only && named.length === 1) return only;
  if (named.length > 1) {
    const ids = named.map(({ nodeId }) => nodeId).join(", ");
    throw new ArgusError("InvalidInput", `${named.length} nodes are called ${name}: ${ids}`);
  }
  const others = rows.map(({ nodeId }) => nodeId).join(", ") || "none";
  throw new ArgusError("NotFound", `Session ${session} has no node ${name}. There are: ${others}`);
}
