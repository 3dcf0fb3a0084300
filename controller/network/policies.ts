import { isIP } from "node:net";
import type { KubeObject } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { LABEL, POD } from "#protocol/pod.ts";

type Rule = Record<string, unknown>;

export interface NetworkPolicy extends KubeObject {
  spec: {
    podSelector: { matchLabels: Record<string, string> };
    policyTypes: string[];
    ingress?: Rule[];
    egress?: Rule[];
  };
}

export interface NetworkSettings {
  /** Namespace of the sessions and of the release. */
  namespace: string;
  gatewayUrl: string;
}

/** Never to be reached, by any way: they hand out the node's own credentials. */
export const METADATA = [
  "169.254.169.254/32",
  "fd00:ec2::254/128",
  "64:ff9b::a9fe:a9fe/128",
] as const;
const [METADATA_V4, ...METADATA_V6] = METADATA;
/** Where node-local DNS answers, in the midst of the link-local range. */
const NODE_DNS = "169.254.20.10/32";
/** All that is not the public internet (RFC 6890 and what came after it). */
const SPECIAL_V4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
];
/** NAT64 would lead back to the ranges above. Mapped addresses travel as IPv4, and the API server takes no policy that names them. */
const SPECIAL_V6 = [
  "::/127",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "100::/64",
  "2001::/23",
  "2001:db8::/32",
  "2002::/16",
  "fc00::/7",
  "fe80::/10",
  "ff00::/8",
];

const MANAGED = "managed";

/** Labels by which the policies find a session's pod; none where the session's policies are not ours to make. */
export function networkLabels({ spec }: Pick<ArgusSession, "spec">): Record<string, string> {
  if (spec.networkPolicyManagement === "Unmanaged") return {};
  return { [LABEL.network]: MANAGED, [LABEL.egress]: spec.networkPolicy.egressMode };
}

/** The policies of a namespace: one for every session pod, and one for each egress mode that adds to it. */
export function sharedPolicies(settings: NetworkSettings): NetworkPolicy[] {
  const { namespace } = settings;
  const of = (
    name: string,
    matchLabels: Record<string, string>,
    spec: Partial<NetworkPolicy["spec"]>,
  ) => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace, labels: { [LABEL.component]: "session-network" } },
    spec: { podSelector: { matchLabels }, policyTypes: ["Egress"], ...spec },
  });
  return [
    of(
      "argus-session",
      { [LABEL.network]: MANAGED },
      {
        policyTypes: ["Ingress", "Egress"],
        ingress: baseIngress(settings),
        egress: baseEgress(settings),
      },
    ),
    of("argus-session-public", modeLabels("PublicOnly"), {
      egress: [{ to: [block("0.0.0.0/0", SPECIAL_V4), block("::/0", SPECIAL_V6)] }],
    }),
    of("argus-session-open", modeLabels("Open"), { egress: [{ to: EVERYWHERE }] }),
  ];
}

function modeLabels(mode: string): Record<string, string> {
  return { [LABEL.network]: MANAGED, [LABEL.egress]: mode };
}

function block(cidr: string, except: string[]) {
  return { ipBlock: except.length > 0 ? { cidr, except } : { cidr } };
}

/** Some networks do not count pods among addresses, so they are named apart. */
export const EVERYWHERE = [
  { namespaceSelector: {} },
  block("0.0.0.0/0", [METADATA_V4]),
  block("::/0", METADATA_V6),
];

const tcp = (port: number) => ({ protocol: "TCP", port });

/** Pods of Argus itself; session pods carry a component of their own and cannot pose as one of these. */
function ownPods(namespace: string, component: string) {
  return {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
    podSelector: { matchLabels: { [LABEL.part]: component } },
  };
}

function baseIngress({ namespace }: NetworkSettings): Rule[] {
  return [
    { from: [ownPods(namespace, "gateway")], ports: [tcp(POD.ports.bridge.number)] },
    { from: [ownPods(namespace, "controller")], ports: [tcp(POD.ports.probe.number)] },
  ];
}

function baseEgress({ namespace, gatewayUrl }: NetworkSettings): Rule[] {
  const url = new URL(gatewayUrl);
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  const address = url.hostname.replace(/^\[|\]$/g, "");
  const version = isIP(address);
  const literal = version ? [block(`${address}/${version === 4 ? 32 : 128}`, [])] : [];
  const dns = [{ protocol: "UDP", port: 53 }, tcp(53)];
  return [
    { to: [{ namespaceSelector: {} }, block(NODE_DNS, [])], ports: dns },
    { to: [ownPods(namespace, "gateway"), ...literal], ports: [tcp(port)] },
  ];
}
