import { expect, test } from "vitest";
import type { Container } from "#cluster/core-types.ts";
import { type Rendered, render } from "#test/support/chart.ts";
import { findings, RULES, workloads } from "./rules.ts";
import { VALUE_SETS } from "./value-sets.ts";

/** What a set leaves out on purpose, and what the rules then say. */
const ASKED_FOR: Record<string, string[]> = {
  "small and temporary": ["a disruption budget", "a network policy for both directions"],
};

test.for(Object.entries(VALUE_SETS))("no finding: %s", async ([name, values]) => {
  const asked = ASKED_FOR[name] ?? [];
  const found = findings(await render(values));
  expect(found.filter((finding) => !asked.some((rule) => finding.endsWith(rule)))).toEqual([]);
});

type Break = (objects: Rendered[]) => void;
const onContainer =
  (change: (container: Container) => void): Break =>
  (objects) => {
    for (const { pod } of workloads(objects)) {
      const [container] = pod.containers;
      if (container) change(container);
    }
  };
const onPod =
  (change: (pod: Record<string, unknown>) => void): Break =>
  (objects) => {
    for (const { pod } of workloads(objects)) change(pod);
  };
const drop =
  (kind: string): Break =>
  (objects) => {
    objects.splice(0, objects.length, ...objects.filter((object) => object.kind !== kind));
  };
const set = (field: string, value: unknown) =>
  onContainer((container) => Object.assign(container, { [field]: value }));
const secure = (field: string, value: unknown) =>
  onContainer((container) => {
    Object.assign(container.securityContext ?? {}, { [field]: value });
  });

/** One way to break each rule, in the order of the rules. */
const BREAKS: Break[] = [
  secure("runAsUser", 0),
  secure("readOnlyRootFilesystem", undefined),
  secure("capabilities", { drop: ["ALL"], add: ["NET_ADMIN"] }),
  secure("allowPrivilegeEscalation", undefined),
  secure("seccompProfile", { type: "Unconfined" }),
  set("resources", { requests: { cpu: "1" } }),
  set("readinessProbe", undefined),
  set("livenessProbe", { exec: { command: ["true"] } }),
  set("image", "argus:latest"),
  set("imagePullPolicy", undefined),
  set("env", [{ name: "ARGUS_TOKEN", value: "secret" }]),
  set("env", [
    { name: "A", value: "1" },
    { name: "A", value: "2" },
  ]),
  set("ports", [{ name: "http", containerPort: 8080, hostPort: 80 }]),
  onPod((pod) => Object.assign(pod, { hostPID: true })),
  onPod((pod) => Object.assign(pod, { volumes: [{ name: "tmp", hostPath: { path: "/" } }] })),
  onPod((pod) => Object.assign(pod, { volumes: [{ name: "tmp", emptyDir: {} }] })),
  onPod((pod) => Object.assign(pod, { serviceAccountName: "default" })),
  onPod((pod) => {
    delete pod.automountServiceAccountToken;
  }),
  (objects) => {
    for (const object of objects) delete object.automountServiceAccountToken;
  },
  onPod((pod) => {
    delete pod.enableServiceLinks;
  }),
  onPod((pod) => Object.assign(pod, { terminationGracePeriodSeconds: 5 })),
  onPod((pod) => {
    delete pod.topologySpreadConstraints;
  }),
  drop("PodDisruptionBudget"),
  drop("NetworkPolicy"),
  (objects) => {
    for (const { kind, spec } of objects) if (kind === "Service" && spec) spec.type = "NodePort";
  },
  (objects) => {
    for (const { kind, spec } of objects) if (kind === "Deployment" && spec) spec.selector = {};
  },
  (objects) => {
    for (const object of objects)
      if (object.kind === "Deployment") object.apiVersion = "apps/v1beta1";
  },
];

test("each rule finds what it is there for", async () => {
  const clean = await render();
  expect(BREAKS.length).toBe(RULES.length);
  for (const [index, rule] of RULES.entries()) {
    const objects = structuredClone(clean);
    BREAKS[index]?.(objects);
    const found = rule.findings(objects);
    expect({ rule: rule.name, found: found.length > 0 }).toEqual({ rule: rule.name, found: true });
  }
});
