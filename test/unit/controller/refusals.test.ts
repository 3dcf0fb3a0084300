import { expect, test } from "vitest";
import { type KubeCause, KubeError } from "#cluster/kube-error.ts";
import { refusal } from "#controller/session/refusals.ts";

const POD = "Pod default/main-1";
const of = (status: number, message: string, causes: KubeCause[] = []) =>
  refusal(
    new KubeError({ call: "create pods", status, answer: { message, details: { causes } } }),
    POD,
  );

test.each([
  [
    "QuotaExceeded",
    403,
    'pods "main-1" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2',
    "free or raise it",
  ],
  [
    "Forbidden",
    403,
    'pods is forbidden: User "system:serviceaccount:argus:argus-controller" cannot create resource "pods" in API group "" in the namespace "default"',
    "add the verb create on pods to the role of system:serviceaccount:argus:argus-controller",
  ],
  [
    "Forbidden",
    403,
    'argussessions.argus.dev "a" is forbidden: User "x" cannot patch resource "argussessions/status" in API group "argus.dev" in the namespace "default"',
    "add the verb patch on argussessions/status.argus.dev",
  ],
  [
    "NamespaceTerminating",
    403,
    'pods "main-1" is forbidden: unable to create new content in namespace default because it is being terminated',
    "namespace is being deleted",
  ],
  [
    "DependenciesNotReady",
    403,
    'pods "main-1" is forbidden: error looking up service account default/argus-session: serviceaccount "argus-session" not found',
    "argus-session",
  ],
  [
    "DependenciesNotReady",
    403,
    'pods "main-1" is forbidden: violates PodSecurity "restricted:latest": seccompProfile',
    "PodSecurity",
  ],
  [
    "SpecInvalid",
    422,
    'Pod "main-1" is invalid: spec.containers[1].name: Invalid value',
    "spec.containers[1]",
  ],
])("%s: %s %s", (reason, status, message, words) => {
  const problem = of(status, message);
  expect(problem?.reason).toBe(reason);
  expect(problem?.message).toContain(POD);
  expect(problem?.message).toContain(words);
  expect(problem?.terminal === true).toBe(reason === "SpecInvalid");
});

test("the cause counts where the words may change", () => {
  const causes = [{ reason: "NamespaceTerminating" }];
  expect(of(403, "no", causes)?.reason).toBe("NamespaceTerminating");
});

test.each([0, 409, 429, 500, 503])("a %s says nothing about the object", (status) => {
  expect(of(status, "busy")).toBeUndefined();
});
