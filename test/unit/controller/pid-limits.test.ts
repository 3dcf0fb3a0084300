import { expect, test } from "vitest";
import type { KubeClient } from "#cluster/types.ts";
import { pidLimitOf, takesPidLimits } from "#controller/session/pid-resource.ts";
import { buildPod, uidFor } from "#controller/session/pod.ts";
import { computeStatus } from "#controller/session/status.ts";
import { silentLogger } from "#lib/logger.ts";
import type { BridgeStatus } from "#protocol/bridge.ts";
import { NOW, observedOf, podOf, SETTINGS, sessionOf } from "../../support/sessions.ts";

const session = sessionOf({ limits: { pids: 500 } });
const agentOf = (settings: object) =>
  buildPod(session, 200_000, { ...SETTINGS, ...settings }).spec.containers[0];

test("the container is told the agent's limit, and the API where it takes one", () => {
  const env = agentOf({})?.env ?? [];
  expect(env.find(({ name }) => name === "ARGUS_PIDS")?.value).toBe("500");
  expect(agentOf({})?.resources?.limits).not.toHaveProperty("pids");
  expect(agentOf({ pidLimits: true })?.resources?.limits).toMatchObject({ cpu: "2", pids: "516" });
  expect([64, 256, 16_384].map(pidLimitOf)).toEqual(["128", "272", "16384"]);
});

/** What the API server answers to the dry run, and what it was asked. */
async function asked(status: number, keeps: boolean) {
  const calls: { path: string; dryRun: unknown; body: string }[] = [];
  const kube = {
    request: async (
      _: string,
      path: string,
      { body, query }: { body: unknown; query: Record<string, unknown> },
    ) => {
      calls.push({ path, dryRun: query.dryRun, body: JSON.stringify(body) });
      const limits = keeps ? { pids: "128" } : {};
      const made =
        status === 201 ? { spec: { containers: [{ resources: { limits } }] } } : { kind: "Status" };
      return { status, headers: {}, body: { json: async () => made } };
    },
  } as unknown as KubeClient;
  const sample = buildPod(session, 200_000, SETTINGS);
  const takes = await takesPidLimits(kube, {
    namespace: "default",
    sample,
    logger: silentLogger(),
  });
  return { takes, calls };
}

test("whether the server takes the limit is asked by a dry run, and only a clear yes counts", async () => {
  const yes = await asked(201, true);
  expect(yes.takes).toBe(true);
  expect(yes.calls).toMatchObject([{ path: "/api/v1/namespaces/default/pods", dryRun: "All" }]);
  expect(yes.calls[0]?.body).toContain('"pids":"128"');
  for (const [status, keeps] of [
    [201, false],
    [422, false],
    [403, false],
    [500, false],
  ] as const) {
    expect((await asked(status, keeps)).takes).toBe(false);
  }
  const away = { request: () => Promise.reject(new Error("away")) } as unknown as KubeClient;
  const sample = buildPod(session, 200_000, SETTINGS);
  expect(await takesPidLimits(away, { namespace: "default", sample, logger: silentLogger() })).toBe(
    false,
  );
});

test("user namespaces are for sessions without files of another id, and stay with who began in one", () => {
  const own = { hostUsers: false };
  const asks = (hostUsers: boolean) => sessionOf({ podTemplate: { spec: { hostUsers } } });
  const began = sessionOf({}, { status: { runAsUser: 1000 } });
  expect(uidFor(session, undefined, {})).toBeUndefined();
  expect(uidFor(session, 200_007, {})).toBe(200_007);
  expect(uidFor(session, undefined, own)).toBe(1000);
  expect(uidFor(session, 200_007, own)).toBe(200_007);
  expect(uidFor(began, undefined, {})).toBe(1000);
  expect(uidFor(asks(false), 200_007, {})).toBe(1000);
  expect(uidFor(asks(true), undefined, own)).toBeUndefined();
  const pod = buildPod(session, 1000, SETTINGS);
  expect(pod.spec).toMatchObject({
    hostUsers: false,
    securityContext: { runAsUser: 1000, fsGroup: 1000 },
  });
  expect(buildPod(session, 200_000, SETTINGS).spec).not.toHaveProperty("hostUsers");
});

test("a user namespace that was asked for and is not there is Degraded", () => {
  const said = (pidIsolation: BridgeStatus["pidIsolation"], uid: number) => {
    const bridge = { pidIsolation, install: { state: "none" } } as BridgeStatus;
    const pod = podOf(session, {
      containerStatuses: [{ name: "agent", state: { running: {} } }],
    });
    const { conditions } = computeStatus(
      { ...observedOf(session, { pod, bridge }), uid },
      undefined,
      NOW,
    );
    const found = conditions?.find(({ type }) => type === "PidIsolation");
    return `${found?.status} ${found?.reason}`;
  };
  expect(said("UniqueUid", 200_000)).toBe("True UniqueUid");
  expect(said("Degraded", 200_000)).toBe("False Degraded");
  expect(said("UserNamespace", 1000)).toBe("True UserNamespace");
  expect(said("UniqueUid", 1000)).toBe("False Degraded");
});
