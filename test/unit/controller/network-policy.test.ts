import { expect, test } from "vitest";
import { networkLabels, sharedPolicies } from "#controller/network/policies.ts";
import { networkViolations, sessionPolicy } from "#controller/network/session-policy.ts";
import { plan } from "#controller/session/plan.ts";
import { buildPod } from "#controller/session/pod.ts";
import type { ArgusSessionSpecInput } from "#crds/argus-session.ts";
import { LABEL } from "#protocol/pod.ts";
import { type Endpoint, isAllowed } from "../../support/network-policy.ts";
import { NOW, observedOf, podOf, SETTINGS, sessionOf } from "../../support/sessions.ts";

const NAMESPACE = "default";
const BRIDGE = 7777;
const PROBE = 7778;
const shared = sharedPolicies({ namespace: NAMESPACE, gatewayUrl: "http://argus-gateway:8080" });
const ours = (component: string) => ({ [LABEL.part]: component });

function world(spec: ArgusSessionSpecInput = {}) {
  const session = sessionOf(spec);
  const { labels = {} } = buildPod(session, 200_000, SETTINGS).metadata;
  const own = sessionPolicy(session);
  return {
    policies: own ? [...shared, own] : shared,
    pod: { namespace: NAMESPACE, labels, ports: { bridge: BRIDGE } } as Endpoint,
  };
}

const neighbour = world().pod;
/** A session whose template poses as the gateway. */
const impostor = world({
  podTemplate: { metadata: { labels: ours("gateway") } },
}).pod;

const ORIGINS: [name: string, from: Endpoint, bridge: boolean, probe: boolean][] = [
  ["the gateway", { namespace: NAMESPACE, labels: ours("gateway") }, true, false],
  ["the controller", { namespace: NAMESPACE, labels: ours("controller") }, false, true],
  ["another session", neighbour, false, false],
  ["a session that poses as the gateway", impostor, false, false],
  ["a gateway of another namespace", { namespace: "other", labels: ours("gateway") }, false, false],
  ["a pod of this namespace", { namespace: NAMESPACE, labels: { app: "database" } }, false, false],
  ["the internet", { ip: "203.0.113.9" }, false, false],
  ["an address of the node's network", { ip: "10.0.0.7" }, false, false],
];

test.each(ORIGINS)("what %s reaches", (_, from, bridge, probe) => {
  for (const mode of ["Open", "PublicOnly", "Listed"] as const) {
    const { policies, pod } = world({ networkPolicy: { egressMode: mode } });
    const reaches = (port: number) => isAllowed(policies, { from, to: pod, port });
    expect([BRIDGE, PROBE, 22, 8080].map(reaches), mode).toEqual([bridge, probe, false, false]);
  }
});

interface Target {
  to: Endpoint;
  port: number;
  protocol?: "UDP";
  /** Whether it is reached with Open, PublicOnly, Listed. */
  by: [open: boolean, publicOnly: boolean, listed: boolean];
}
const dns = { namespace: "kube-system", labels: { "k8s-app": "kube-dns" } };
const TARGETS: Record<string, Target> = {
  "DNS by UDP": { to: dns, port: 53, protocol: "UDP", by: [true, true, true] },
  "DNS by TCP": { to: dns, port: 53, by: [true, true, true] },
  "node-local DNS": {
    to: { ip: "169.254.20.10" },
    port: 53,
    protocol: "UDP",
    by: [true, true, true],
  },
  "the gateway": {
    to: { namespace: NAMESPACE, labels: ours("gateway") },
    port: 8080,
    by: [true, true, true],
  },
  "the gateway's other ports": {
    to: { namespace: NAMESPACE, labels: ours("gateway") },
    port: 22,
    by: [true, false, false],
  },
  "the public internet": { to: { ip: "1.1.1.1" }, port: 443, by: [true, true, false] },
  "the public internet by IPv6": {
    to: { ip: "2606:4700::1111" },
    port: 443,
    by: [true, true, false],
  },
  "a database in the cluster": {
    to: { namespace: "data", labels: {} },
    port: 5432,
    by: [true, false, false],
  },
  "the API server": { to: { ip: "10.96.0.1" }, port: 443, by: [true, false, false] },
  "a private address": { to: { ip: "192.168.1.1" }, port: 80, by: [true, false, false] },
  "a shared address": { to: { ip: "100.64.0.1" }, port: 80, by: [true, false, false] },
  "another session's bridge": { to: neighbour, port: BRIDGE, by: [false, false, false] },
  "a link-local address": { to: { ip: "169.254.1.1" }, port: 80, by: [true, false, false] },
  "the metadata service": { to: { ip: "169.254.169.254" }, port: 80, by: [false, false, false] },
  "the metadata service by IPv6": {
    to: { ip: "fd00:ec2::254" },
    port: 80,
    by: [false, false, false],
  },
  "the metadata service by NAT64": {
    to: { ip: "64:ff9b::a9fe:a9fe" },
    port: 80,
    by: [false, false, false],
  },
};

test.each(Object.entries(TARGETS))("who reaches %s", (_, { to, port, protocol, by }) => {
  const modes = ["Open", "PublicOnly", "Listed"] as const;
  const reached = modes.map((mode) => {
    const { policies, pod } = world({ networkPolicy: { egressMode: mode } });
    return isAllowed(policies, { from: pod, to, port, ...(protocol ? { protocol } : {}) });
  });
  expect(reached).toEqual(by);
});

const reaches = (spec: ArgusSessionSpecInput, ip: string, port = 443) => {
  const { policies, pod } = world(spec);
  return isAllowed(policies, { from: pod, to: { ip }, port });
};

test("a session's own rules add to the shared ones, and never the metadata address", () => {
  const listed = (egress: Record<string, unknown>[]): ArgusSessionSpecInput => ({
    networkPolicy: { egressMode: "Listed", egress },
  });
  const one = listed([{ to: [{ ipBlock: { cidr: "10.1.0.0/16" } }] }]);
  expect(reaches(one, "10.1.2.3")).toBe(true);
  expect(reaches(one, "10.2.2.3")).toBe(false);
  for (const rule of [
    {},
    { to: [] },
    { to: [{ ipBlock: { cidr: "169.254.0.0/16" } }] },
    { to: [{ ipBlock: { cidr: "0.0.0.0/0" } }] },
  ]) {
    expect(reaches(listed([rule]), "169.254.169.254", 80)).toBe(false);
    expect(reaches(listed([rule]), "169.254.1.1", 80)).toBe(true);
  }
  const six = listed([{ to: [{ ipBlock: { cidr: "fd00::/8", except: ["fd00:1::/32"] } }] }]);
  expect(reaches(six, "fd00:ec2::254")).toBe(false);
  expect(reaches(six, "fd00:1::1")).toBe(false);
  expect(reaches(six, "fd00:2::1")).toBe(true);
  const only = listed([{ to: [{ ipBlock: { cidr: "169.254.169.254/32" } }] }]);
  expect(networkViolations(sessionOf(only))[0]).toContain("169.254.169.254/32");
  const { problem } = plan(observedOf(sessionOf(only)), SETTINGS, NOW);
  expect(problem).toMatchObject({ reason: "SpecInvalid", terminal: true });
  const entry = { networkPolicy: { ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8" } }] }] } };
  const { policies, pod } = world(entry);
  expect(isAllowed(policies, { from: { ip: "10.0.0.7" }, to: pod, port: 3000 })).toBe(true);
});

test("unmanaged means that no policy of ours holds", () => {
  const { policies, pod } = world({ networkPolicyManagement: "Unmanaged" });
  expect(policies).toHaveLength(3);
  expect(isAllowed(policies, { from: { ip: "10.0.0.7" }, to: pod, port: 22 })).toBe(true);
  expect(
    sessionPolicy(
      sessionOf({ networkPolicyManagement: "Unmanaged", networkPolicy: { egress: [{}] } }),
    ),
  ).toBeUndefined();
});

test("another mode changes the labels of the running pod, not the pod", () => {
  const before = sessionOf();
  const open = sessionOf({ networkPolicy: { egressMode: "Open" } });
  const observed = observedOf(open, { pod: podOf(before) });
  expect(observed).toMatchObject({ drifted: false, outdated: undefined });
  const patch = plan(observed, SETTINGS, NOW).actions.find((each) => each.do === "patch");
  expect(patch).toMatchObject({
    ref: { name: podOf(before).metadata.name },
    patch: [
      { op: "test", value: "pod-uid" },
      { op: "add", path: "/metadata/labels/argus.dev~1egress", value: "Open" },
    ],
  });
  expect(
    plan(observedOf(open, { pod: podOf(open) }), SETTINGS, NOW).actions.filter(
      (each) => each.do === "patch",
    ),
  ).toEqual([]);
  expect(networkLabels(sessionOf({ networkPolicyManagement: "Unmanaged" }))).toEqual({});
});
