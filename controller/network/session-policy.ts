import { BlockList, isIP } from "node:net";
import { childName, ownerReference } from "#cluster/objects.ts";
import { argusSessions } from "#cluster/resources.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { LABEL } from "#protocol/pod.ts";
import { isMap } from "../session/merge.ts";
import { EVERYWHERE, METADATA, type NetworkPolicy } from "./policies.ts";

type Rule = Record<string, unknown>;

/** The session's own rules as a policy that adds to the shared ones; undefined where it has none or they are not ours to make. */
export function sessionPolicy(session: ArgusSession): NetworkPolicy | undefined {
  const { networkPolicyManagement, networkPolicy } = session.spec;
  const { ingress = [], egress = [] } = networkPolicy;
  if (networkPolicyManagement === "Unmanaged" || ingress.length + egress.length === 0)
    return undefined;
  const { name, namespace = "", uid = "" } = session.metadata;
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: {
      name: childName({ name, uid }),
      namespace,
      labels: { [LABEL.sessionUid]: uid, [LABEL.component]: "session-network" },
      annotations: { [LABEL.sessionName]: name },
      ownerReferences: [ownerReference(argusSessions, session)],
    },
    spec: {
      podSelector: { matchLabels: { [LABEL.sessionUid]: uid } },
      policyTypes: [
        ...(ingress.length > 0 ? ["Ingress"] : []),
        ...(egress.length > 0 ? ["Egress"] : []),
      ],
      ...(ingress.length > 0 ? { ingress } : {}),
      ...(egress.length > 0 ? { egress: egress.map(guarded) } : {}),
    },
  };
}

/** Policies only add: the metadata address is taken out of each rule that would reach it. */
function guarded(rule: Rule): Rule {
  const { to } = rule;
  if (!Array.isArray(to) || to.length === 0) return { ...rule, to: EVERYWHERE };
  return { ...rule, to: to.map((peer: unknown) => (isMap(peer) ? guardedPeer(peer) : peer)) };
}

function guardedPeer(peer: Rule): Rule {
  const { ipBlock } = peer;
  if (!isMap(ipBlock) || typeof ipBlock.cidr !== "string") return peer;
  const { cidr } = ipBlock;
  const metadata = METADATA.filter((each) => covers(cidr, each));
  if (metadata.length === 0) return peer;
  const old = Array.isArray(ipBlock.except) ? (ipBlock.except as string[]) : [];
  return { ...peer, ipBlock: { ...ipBlock, except: [...new Set([...old, ...metadata])] } };
}

/** Whether a CIDR holds another one's address; false for what is none, which the API server refuses. */
function covers(cidr: string, other: string): boolean {
  const [base = "", bits = ""] = cidr.split("/");
  const [address = ""] = other.split("/");
  const version = isIP(base);
  if (version === 0 || version !== isIP(address) || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (version === 4 ? 32 : 128)) return false;
  const family = version === 4 ? "ipv4" : "ipv6";
  const list = new BlockList();
  list.addSubnet(base, Number(bits), family);
  return list.check(address, family);
}

/** One sentence for each rule that reaches for the metadata address alone. */
export function networkViolations({ spec }: Pick<ArgusSession, "spec">): string[] {
  const peers = (spec.networkPolicy.egress ?? []).flatMap(({ to }) =>
    Array.isArray(to) ? to : [],
  );
  return peers
    .map((peer: unknown) => (isMap(peer) && isMap(peer.ipBlock) ? peer.ipBlock.cidr : undefined))
    .filter((cidr) => METADATA.some((each) => each === cidr))
    .map(
      (cidr) => `networkPolicy.egress: ${String(cidr)} hands out the node's credentials: remove it`,
    );
}
