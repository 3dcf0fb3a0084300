import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { KubeError } from "#cluster/kube-error.ts";
import { argusSessions } from "#cluster/resources.ts";
import {
  ControllerRig,
  NAMESPACE,
  type RunningController,
  recordingKube,
} from "../support/controller-rig.ts";
import { eventually } from "../support/eventually.ts";

let rig: ControllerRig;
const running: RunningController[] = [];
beforeAll(async () => {
  rig = await ControllerRig.start();
});
afterAll(() => rig.stop());
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

/** A controller whose write is refused with these words for as long as `refused` says so. */
async function refusing(write: string, message: string) {
  const state = { refused: true, tries: 0 };
  const writes: string[] = [];
  const kube = recordingKube(rig.kube, writes, async (each, call) => {
    if (each !== write || !state.refused) return await call();
    state.tries += 1;
    throw new KubeError({ call: each, status: 403, answer: { message, reason: "Forbidden" } });
  });
  const controller = await rig.controller({ kube });
  running.push(controller);
  return { state, controller };
}

const ready = async (name: string) =>
  (await rig.session(name))?.status?.conditions?.find(({ type }) => type === "Ready");

/** Whoever changed the cause may also touch the session to see it at once. */
async function touch(name: string): Promise<void> {
  await rig.kube.jsonPatch({ resource: argusSessions, namespace: NAMESPACE, name }, [
    { op: "add", path: "/metadata/labels", value: { touched: String(performance.now()) } },
  ]);
}

const cannot = (verb: string, resource: string, group = "") =>
  `${resource} is forbidden: User "controller" cannot ${verb} resource "${resource}" in API group "${group}" in the namespace "default"`;

interface Case {
  name: string;
  write: string;
  message: string;
  reason: string;
  words: string;
}

const missing = (name: string, write: string, resource: string): Case => ({
  name,
  write,
  message: cannot("create", resource),
  reason: "Forbidden",
  words: `add the verb create on ${resource}`,
});

test.each<Case>([
  // First: afterwards the object is there and is replaced.
  missing("uids", "create configmaps", "configmaps"),
  missing("pods", "create pods", "pods"),
  missing("claims", "create persistentvolumeclaims", "persistentvolumeclaims"),
  {
    name: "quota",
    write: "create pods",
    message:
      'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2',
    reason: "QuotaExceeded",
    words: "exceeded quota: small",
  },
])(
  "refused $name: a condition names it within ten seconds, nothing is hot, and it heals",
  async (it) => {
    const { state } = await refusing(it.write, it.message);
    const startMs = performance.now();
    await rig.apply(it.name);
    await rig.condition(it.name, "Ready", `False ${it.reason}`);
    expect(performance.now() - startMs).toBeLessThan(10_000);
    expect((await ready(it.name))?.message).toContain(it.words);
    // The status' own event looks once more.
    expect(state.tries).toBeLessThan(5);
    state.refused = false;
    await touch(it.name);
    await eventually("a pod", async () =>
      (await rig.pods()).some(({ metadata }) => metadata.name.startsWith(it.name)),
    );
  },
);

test("when not even the status may be written, readiness names the rule", async () => {
  const { state, controller } = await refusing(
    "applyStatus argussessions",
    cannot("patch", "argussessions/status", "argus.dev"),
  );
  await rig.apply("mute");
  const readyz = `http://127.0.0.1:${controller.port}/readyz`;
  const text = await eventually("the rule in /readyz", async () => {
    const answer = await fetch(readyz);
    const body = await answer.text();
    return answer.status === 503 && body.includes("argussessions/status") && body;
  });
  expect(text).toContain("add the verb patch on argussessions/status.argus.dev");
  expect(state.tries).toBeLessThan(5);
  state.refused = false;
  await touch("mute");
  await eventually("ready again", async () => (await fetch(readyz)).status === 200);
});
