import { expect, test } from "vitest";
import { type Endpoint, isAllowed, type NetworkPolicy } from "#test/support/network-policy.ts";

const web: Endpoint = { namespace: "a", labels: { app: "web" }, ports: { http: 8080 } };
const other: Endpoint = { namespace: "a", labels: { app: "other" } };
const stranger: Endpoint = { namespace: "b", labels: { app: "other" } };
const outside: Endpoint = { ip: "203.0.113.9" };

const policy = (spec: NetworkPolicy["spec"]): NetworkPolicy => ({
  metadata: { name: "p", namespace: "a" },
  spec,
});
const reach = (policies: NetworkPolicy[], from: Endpoint, to: Endpoint, port = 8080) =>
  isAllowed(policies, { from, to, port });
const onWeb = { podSelector: { matchLabels: { app: "web" } } };

test("a pod that no policy selects is open, one that is selected closed in the types named", () => {
  expect(reach([], other, web)).toBe(true);
  const closed = [policy({ ...onWeb, policyTypes: ["Ingress"] })];
  expect(reach(closed, other, web)).toBe(false);
  expect(reach(closed, web, other)).toBe(true);
  expect(reach([policy({ ...onWeb, policyTypes: ["Egress"] })], web, other)).toBe(false);
  expect(reach([policy({ ...onWeb })], other, web)).toBe(false);
  expect(reach([policy({ ...onWeb, egress: [] })], web, other)).toBe(false);
});

test("an empty selector selects all pods of the policy's own namespace", () => {
  const closed = [policy({ podSelector: {}, policyTypes: ["Ingress"] })];
  expect(reach(closed, stranger, other)).toBe(false);
  expect(reach(closed, other, stranger)).toBe(true);
});

test("a rule without peers lets everybody in, without ports on every port", () => {
  const ports = [policy({ ...onWeb, ingress: [{ ports: [{ port: 8080 }] }] })];
  expect(reach(ports, outside, web)).toBe(true);
  expect(reach(ports, outside, web, 8081)).toBe(false);
  expect(isAllowed(ports, { from: outside, to: web, port: 8080, protocol: "UDP" })).toBe(false);
  expect(reach([policy({ ...onWeb, ingress: [{}] })], stranger, web, 1)).toBe(true);
});

test("named ports and ranges of ports", () => {
  const named = [policy({ ...onWeb, ingress: [{ ports: [{ port: "http" }] }] })];
  expect(reach(named, other, web, 8080)).toBe(true);
  expect(reach(named, other, web, 8081)).toBe(false);
  const range = [policy({ ...onWeb, ingress: [{ ports: [{ port: 8000, endPort: 8100 }] }] })];
  expect(reach(range, other, web, 8100)).toBe(true);
  expect(reach(range, other, web, 8101)).toBe(false);
});

test("a podSelector alone stays in its namespace, with a namespaceSelector both must match", () => {
  const from = (peer: object) => [policy({ ...onWeb, ingress: [{ from: [peer] }] })];
  const pods = from({ podSelector: { matchLabels: { app: "other" } } });
  expect(reach(pods, other, web)).toBe(true);
  expect(reach(pods, stranger, web)).toBe(false);
  const both = from({
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "b" } },
    podSelector: { matchLabels: { app: "other" } },
  });
  expect(reach(both, stranger, web)).toBe(true);
  expect(reach(both, other, web)).toBe(false);
  expect(reach(from({ namespaceSelector: {} }), outside, web)).toBe(false);
});

test("address ranges with holes, both families", () => {
  const to = (ipBlock: object) => [policy({ ...onWeb, egress: [{ to: [{ ipBlock }] }] } as never)];
  const open = to({ cidr: "0.0.0.0/0", except: ["169.254.0.0/16"] });
  expect(reach(open, web, outside)).toBe(true);
  expect(reach(open, web, { ip: "169.254.169.254" })).toBe(false);
  expect(reach(open, web, { ip: "2001:db8::1" })).toBe(false);
  expect(reach(to({ cidr: "2001:db8::/32" }), web, { ip: "2001:db8::1" })).toBe(true);
});

test("expressions of selectors; policies add up", () => {
  const when = (operator: string, values?: string[]) => [
    policy({
      podSelector: { matchExpressions: [{ key: "app", operator, ...(values ? { values } : {}) }] },
    }),
  ];
  expect(reach(when("Exists"), other, web)).toBe(false);
  expect(reach(when("DoesNotExist"), other, web)).toBe(true);
  expect(reach(when("In", ["web"]), other, web)).toBe(false);
  expect(reach(when("NotIn", ["web"]), other, web)).toBe(true);
  const open = policy({ ...onWeb, ingress: [{ from: [{ podSelector: {} }] }] });
  expect(reach([...when("Exists"), open], other, web)).toBe(true);
});

test("both ends must agree", () => {
  const receives = policy({ ...onWeb, ingress: [{}] });
  const silent = policy({
    podSelector: { matchLabels: { app: "other" } },
    policyTypes: ["Egress"],
  });
  expect(reach([receives], other, web)).toBe(true);
  expect(reach([receives, silent], other, web)).toBe(false);
});
