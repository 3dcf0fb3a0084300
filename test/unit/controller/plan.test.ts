import { expect, test } from "vitest";
import type { PersistentVolumeClaim } from "#cluster/core-types.ts";
import { buildClaims } from "#controller/session/claims.ts";
import type { Observed } from "#controller/session/observe.ts";
import { plan } from "#controller/session/plan.ts";
import { specHash } from "#controller/session/spec-hash.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { LABEL } from "#protocol/pod.ts";
import { NOW, observedOf, podOf, SETTINGS, sessionOf } from "../../support/sessions.ts";

/** `create pods`, `delete pods`, `claimUid`, … */
function steps(observed: Observed, now = NOW): string[] {
  return plan(observed, SETTINGS, now).actions.map((action) => {
    if (action.do === "create") return `create ${action.resource.plural}`;
    if (action.do === "claimUid") return "claimUid";
    return `${action.do} ${action.ref.resource.plural}`;
  });
}

function claimsOf(session: ArgusSession): Map<string, PersistentVolumeClaim> {
  return new Map(
    buildClaims(session).map((claim) => [
      claim.metadata.name,
      { ...claim, metadata: { ...claim.metadata, uid: "claim-uid" } },
    ]),
  );
}

const session = sessionOf();
const claims = claimsOf(session);

test("a new session claims its user id before anything else", () => {
  expect(steps(observedOf(session, { uid: undefined }))).toEqual(["claimUid"]);
});

test("with the id it makes volumes, then what the pod needs, then the pod", () => {
  expect(steps(observedOf(session, { serviceAccountExists: false }))).toEqual([
    "create persistentvolumeclaims",
    "create serviceaccounts",
    "create pods",
  ]);
  expect(steps(observedOf(session, { claims }))).toEqual(["create pods"]);
});

test("a pod in a user namespace of its own needs no id", () => {
  const own = sessionOf({ podTemplate: { spec: { hostUsers: false } } });
  const [, pod] = plan(observedOf(own, { uid: undefined }), SETTINGS, NOW).actions;
  expect(pod).toMatchObject({ object: { spec: { securityContext: { runAsUser: 1000 } } } });
});

test("nothing differs: nothing is written", () => {
  expect(steps(observedOf(session, { claims, pod: podOf(session) }))).toEqual([]);
});

test("the installation's image and model may change without a restart of sessions", () => {
  const upgraded = { ...SETTINGS, defaultImage: "argus:next", model: "newer" };
  const observed = observedOf(session, { claims, pod: podOf(session) }, upgraded);
  expect(observed).toMatchObject({
    drifted: false,
    outdated: "image argus:next instead of argus:test",
  });
  expect(plan(observed, upgraded, NOW).actions).toEqual([]);
});

test("a pod that knows an old address of the gateway is replaced: its model would be out of reach", () => {
  const moved = { ...SETTINGS, gatewayUrl: "http://127.0.0.1:8081" };
  const observed = observedOf(session, { claims, pod: podOf(session) }, moved);
  expect(plan(observed, moved, NOW).actions).toMatchObject([{ do: "delete", uid: "pod-uid" }]);
});

test("another name of the gateway waits for the next start", () => {
  const moved = { ...SETTINGS, gatewayUrl: "http://elsewhere:8080" };
  const observed = observedOf(session, { claims, pod: podOf(session) }, moved);
  expect(observed).toMatchObject({ drifted: false, outdated: "other settings" });
});

test("a restart that was asked for replaces the pod once", () => {
  const annotations = { [LABEL.restartAt]: "2030-01-01T11:59:00Z" };
  const asked = sessionOf({}, { metadata: { ...session.metadata, annotations } });
  expect(steps(observedOf(asked, { claims, pod: podOf(session) }))).toEqual(["delete pods"]);
  expect(steps(observedOf(asked, { claims, pod: podOf(asked) }))).toEqual([]);
});

test("a field that a later version adds with a default changes no hash", () => {
  const spec = sessionOf({ runtime: { args: ["--x"] } }).spec;
  const { protocol: _, ...older } = spec.runtime;
  const hash = (runtime: object) =>
    specHash({ metadata: session.metadata, spec: { ...spec, runtime } as typeof spec }, "http://g");
  expect(hash(older)).toBe(hash(spec.runtime));
  expect(hash({ ...older, protocol: "acp" })).not.toBe(hash(spec.runtime));
});

test("while the caches are behind nothing is decided", () => {
  const early = plan(observedOf(session, { stale: true }), SETTINGS, NOW);
  expect(early).toEqual({ actions: [], requeueAfterMs: 10_000 });
});

test.each([
  ["runtime.args", { runtime: { args: ["--x"] } }],
  ["runtime.image", { runtime: { image: "other" } }],
  ["approvals", { approvals: "untrusted" as const }],
  ["limits.pids", { limits: { pids: 512 } }],
  ["resources", { resources: { limits: { cpu: "4" } } }],
  ["podTemplate", { podTemplate: { metadata: { labels: { team: "a" } } } }],
  ["idle.parkAfterSeconds", { idle: { parkAfterSeconds: 60 } }],
])("a change of %s replaces the pod, deleting it by UID", (_, spec) => {
  const observed = observedOf(sessionOf(spec), { claims, pod: podOf(session) });
  expect(plan(observed, SETTINGS, NOW).actions).toMatchObject([{ do: "delete", uid: "pod-uid" }]);
});

test.each([
  ["turn", { turn: { silenceSeconds: 60 } }],
  ["heartbeat", { heartbeat: { intervalSeconds: 60 } }],
  ["tokenGeneration", { tokenGeneration: 7 }],
  ["shutdownPolicy", { shutdownPolicy: "Delete" as const }],
])("a change of %s leaves the pod alone", (_, spec) => {
  expect(steps(observedOf(sessionOf(spec), { claims, pod: podOf(session) }))).toEqual([]);
});

test("while the old pod is going nothing is made and nothing is deleted twice", () => {
  const old = podOf(session);
  const pod = { ...old, metadata: { ...old.metadata, deletionTimestamp: "2030-01-01T11:59:00Z" } };
  const changed = sessionOf({ runtime: { args: ["--x"] } });
  expect(steps(observedOf(changed, { claims, pod }))).toEqual([]);
});

test("a pod that was evicted is replaced, at most every ten seconds", () => {
  const pod = podOf(session, { phase: "Failed", reason: "Evicted" });
  const soon = new Date("2030-01-01T11:00:04Z");
  const early = plan(observedOf(session, { claims, pod }), SETTINGS, soon);
  expect(early).toEqual({ actions: [], requeueAfterMs: 6000 });
  expect(steps(observedOf(session, { claims, pod }))).toEqual(["delete pods"]);
});

test("with restartPolicy Never an ended pod is kept as it is", () => {
  const once = sessionOf({ podTemplate: { spec: { restartPolicy: "Never" } } });
  const pod = podOf(once, { phase: "Succeeded" });
  expect(steps(observedOf(once, { claims, pod }))).toEqual([]);
});

/** The session with the mark that precedes the end of its pod. */
function marked(suspended: ArgusSession): ArgusSession {
  const condition = { type: "Suspended", status: "False" as const, reason: "Suspending" };
  const rest = { message: "", lastTransitionTime: "2030-01-01T11:59:00Z" };
  return { ...suspended, status: { ...suspended.status, conditions: [{ ...condition, ...rest }] } };
}

test("a pod is deleted for suspension only after the status said so", () => {
  const asleep = sessionOf({ operatingMode: "Suspended" });
  const first = plan(observedOf(asleep, { claims, pod: podOf(session) }), SETTINGS, NOW);
  expect(first).toEqual({ actions: [], mark: true });
});

test("a suspended session loses its pod, and its volume only with two consents", () => {
  const kept = marked(sessionOf({ operatingMode: "Suspended" }));
  expect(steps(observedOf(kept, { claims, pod: podOf(session) }))).toEqual(["delete pods"]);
  expect(steps(observedOf(kept, { claims }))).toEqual([]);
  const policy = { whenSuspended: "Delete" as const, confirmDataLoss: true };
  const lost = marked(
    sessionOf({ operatingMode: "Suspended", persistentVolumeClaimRetentionPolicy: policy }),
  );
  expect(steps(observedOf(lost, { claims, pod: podOf(session) }))).toEqual(["delete pods"]);
  expect(steps(observedOf(lost, { claims }))).toEqual(["delete persistentvolumeclaims"]);
});

test("a suspended session that was never started makes nothing", () => {
  const asleep = sessionOf({ operatingMode: "Suspended" });
  expect(steps(observedOf(asleep, { uid: undefined }))).toEqual([]);
});

test("a session that is being deleted makes nothing", () => {
  const metadata = { ...session.metadata, deletionTimestamp: "2030-01-01T11:59:00Z" };
  expect(steps(observedOf({ ...session, metadata }))).toEqual([]);
});

test("a foreign pod or claim is a problem that names it, never a takeover", () => {
  const own = podOf(session);
  const pod = { ...own, metadata: { ...own.metadata, ownerReferences: [] } };
  const withPod = plan(observedOf(session, { claims, pod }), SETTINGS, NOW);
  expect(withPod.actions).toEqual([]);
  expect(withPod.problem?.reason).toBe("PodNotOwned");
  expect(withPod.problem?.message).toContain(pod.metadata.name);
  const foreign = new Map(
    [...claims].map(([name, claim]) => [
      name,
      { ...claim, metadata: { ...claim.metadata, labels: {} } },
    ]),
  );
  const withClaim = plan(observedOf(session, { claims: foreign }), SETTINGS, NOW);
  expect(withClaim.actions).toEqual([]);
  expect(withClaim.problem?.message).toContain("workspace-main");
});

test("a claim that is being deleted is waited for", () => {
  const ending = new Map(
    [...claims].map(([name, claim]) => [
      name,
      { ...claim, metadata: { ...claim.metadata, deletionTimestamp: "2030-01-01T11:59:00Z" } },
    ]),
  );
  expect(steps(observedOf(session, { claims: ending }))).toEqual([]);
});

test("a claim that somebody deleted before its pod started is made again", () => {
  expect(steps(observedOf(session, { pod: podOf(session) }))).toEqual([
    "create persistentvolumeclaims",
  ]);
});

test("claims follow whenDeleted in both directions", () => {
  const mortal = sessionOf({ persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete" } });
  const pod = podOf(session);
  expect(steps(observedOf(mortal, { claims, pod }))).toEqual(["patch persistentvolumeclaims"]);
  const owned = claimsOf(mortal);
  expect(steps(observedOf(mortal, { claims: owned, pod }))).toEqual([]);
  const [patch] = plan(observedOf(session, { claims: owned, pod }), SETTINGS, NOW).actions;
  expect(patch).toMatchObject({ do: "patch", patch: [{ op: "test" }, { op: "add", value: [] }] });
});
