import { BlockList, isIPv6 } from "node:net";

/**
 * What NetworkPolicies allow, by the words of networking.k8s.io/v1: for clusters of one node, whose network enforces none.
 * A pod that a policy selects may only do what some policy that selects it allows; policies add up and never deny.
 */
interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}
interface PolicyPort {
  protocol?: string;
  port?: number | string;
  endPort?: number;
}
interface Peer {
  podSelector?: Selector;
  namespaceSelector?: Selector;
  ipBlock?: { cidr: string; except?: string[] };
}
interface Rule {
  from?: Peer[];
  to?: Peer[];
  ports?: PolicyPort[];
}
export interface NetworkPolicy {
  metadata: { name: string; namespace?: string };
  spec: {
    podSelector?: Selector;
    policyTypes?: string[];
    ingress?: Rule[];
    egress?: Rule[];
  };
}

/** One end of a connection: a pod (it has a namespace), or an address outside. */
export interface Endpoint {
  namespace?: string;
  labels?: Record<string, string>;
  ip?: string;
  /** Named ports of the pod. */
  ports?: Record<string, number>;
}

export interface Connection {
  from: Endpoint;
  to: Endpoint;
  port: number;
  protocol?: "TCP" | "UDP";
}

/** Whether the connection may be made: its sender may send it and its receiver may receive it. */
export function isAllowed(policies: NetworkPolicy[], connection: Connection): boolean {
  return (
    permitted(policies, connection, {
      self: connection.from,
      other: connection.to,
      way: "Egress",
    }) &&
    permitted(policies, connection, { self: connection.to, other: connection.from, way: "Ingress" })
  );
}

interface View {
  self: Endpoint;
  other: Endpoint;
  way: "Ingress" | "Egress";
}

function permitted(policies: NetworkPolicy[], connection: Connection, view: View): boolean {
  const { self, way } = view;
  const own = policies.filter(
    ({ metadata, spec }) =>
      self.namespace !== undefined &&
      metadata.namespace === self.namespace &&
      selects(spec.podSelector ?? {}, self.labels ?? {}) &&
      typesOf(spec).includes(way),
  );
  if (own.length === 0) return true;
  return own.some(({ metadata, spec }) => {
    const rules = (way === "Ingress" ? spec.ingress : spec.egress) ?? [];
    const namespace = metadata.namespace ?? "";
    return rules.some((rule) => ruleAllows(rule, connection, { ...view, namespace }));
  });
}

/** Without policyTypes a policy is about what comes in, and about what goes out when it has egress rules. */
function typesOf({ policyTypes, egress }: NetworkPolicy["spec"]): string[] {
  return policyTypes ?? (egress ? ["Ingress", "Egress"] : ["Ingress"]);
}

function ruleAllows(
  rule: Rule,
  connection: Connection,
  { other, way, namespace }: View & { namespace: string },
): boolean {
  const peers = (way === "Ingress" ? rule.from : rule.to) ?? [];
  const { ports = [] } = rule;
  return (
    (peers.length === 0 || peers.some((peer) => isPeer(peer, other, namespace))) &&
    (ports.length === 0 || ports.some((port) => isPort(port, connection)))
  );
}

function isPort({ protocol = "TCP", port, endPort }: PolicyPort, connection: Connection): boolean {
  if (protocol !== (connection.protocol ?? "TCP")) return false;
  if (port === undefined) return true;
  const first = typeof port === "string" ? connection.to.ports?.[port] : port;
  return first !== undefined && connection.port >= first && connection.port <= (endPort ?? first);
}

/** Both selectors of one peer must match; a podSelector alone stays in the policy's namespace. */
function isPeer(peer: Peer, other: Endpoint, namespace: string): boolean {
  if (peer.ipBlock) return other.ip !== undefined && isWithin(other.ip, peer.ipBlock);
  if (other.namespace === undefined) return false;
  const inNamespace = peer.namespaceSelector
    ? selects(peer.namespaceSelector, { "kubernetes.io/metadata.name": other.namespace })
    : other.namespace === namespace;
  return inNamespace && selects(peer.podSelector ?? {}, other.labels ?? {});
}

function isWithin(ip: string, { cidr, except = [] }: { cidr: string; except?: string[] }): boolean {
  return isIn(ip, cidr) && !except.some((hole) => isIn(ip, hole));
}

function isIn(ip: string, cidr: string): boolean {
  const [network = "", prefix = ""] = cidr.split("/");
  if (isIPv6(ip) !== isIPv6(network)) return false;
  const family = isIPv6(ip) ? "ipv6" : "ipv4";
  const list = new BlockList();
  list.addSubnet(network, Number(prefix), family);
  return list.check(ip, family);
}

/** Whether a label selector selects these labels; the empty one selects all. */
export function selects(selector: unknown, labels: Record<string, string>): boolean {
  const { matchLabels = {}, matchExpressions = [] } = (selector ?? {}) as Selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === "Exists") return value !== undefined;
      if (operator === "DoesNotExist") return value === undefined;
      if (operator === "In") return value !== undefined && values.includes(value);
      return value === undefined || !values.includes(value);
    })
  );
}
