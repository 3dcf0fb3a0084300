import { setTimeout as delay } from "node:timers/promises";
import { argusSessions, persistentVolumeClaims, pods } from "#cluster/resources.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { FakeKubelet } from "../../fakes/kubelet.ts";
import { eventually } from "../../support/eventually.ts";
import type { Row } from "../relay/report.ts";
import { figure } from "./figures.ts";
import { names, type Rig } from "./rig.ts";

/** Longer than a status may be held back and a problem is looked at again. */
const SETTLE_MS = 8000;

/** K8: writes of one life, one session after another so that nothing is shared. */
export async function writesOfALife(
  rig: Rig,
  { quick, say }: { quick: boolean; say: (text: string) => void },
): Promise<Row[]> {
  say("K8: writes of a life");
  const namespace = await rig.namespace("writes");
  const kubelet = await FakeKubelet.start({ kube: rig.kube, namespace, podIP: "127.66.1.1" });
  const controller = await rig.controller(namespace);
  const toReady: number[] = [];
  const whole: number[] = [];
  try {
    for (const name of names("life", quick ? 1 : 5)) {
      const mark = await rig.auditMark();
      const is = (type: string, wanted: string) =>
        condition(rig, { namespace, name, type, wanted });
      const ref = { resource: argusSessions, namespace, name };
      await rig.create(namespace, name, {
        persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete" },
      });
      await is("Ready", "True");
      await delay(SETTLE_MS);
      const first = await rig.writes(namespace, mark);
      toReady.push(first.length);
      const told = first.map(({ verb, objectRef }) => `${verb} ${objectRef?.resource}`);
      say(`K8: ${told.join(", ")}`);
      await operate(rig, ref, "Suspended");
      await is("Suspended", "True");
      await operate(rig, ref, "Running");
      await is("Ready", "True");
      await delay(SETTLE_MS);
      await rig.kube.delete(ref);
      for (const resource of [argusSessions, pods, persistentVolumeClaims]) {
        await eventually(`no ${resource.plural}`, async () => {
          return (await rig.kube.list(resource, { namespace })).items.length === 0;
        });
      }
      await delay(SETTLE_MS);
      whole.push((await rig.writes(namespace, mark)).length);
    }
  } finally {
    await controller.kill("SIGTERM");
    await kubelet.stop();
  }
  return [
    figure({ goal: "K8", what: "writes from create to Ready, settled", atMost: 5 }, toReady),
    figure(
      { goal: "K8", what: "writes of a life: Ready, suspended, Ready, deleted", atMost: 14 },
      whole,
    ),
  ];
}

async function operate(
  rig: Rig,
  ref: { resource: typeof argusSessions; namespace: string; name: string },
  value: string,
): Promise<void> {
  await rig.kube.jsonPatch(ref, [{ op: "add", path: "/spec/operatingMode", value }]);
}

async function condition(
  rig: Rig,
  asked: { namespace: string; name: string; type: string; wanted: string },
): Promise<void> {
  const { namespace, name, type, wanted } = asked;
  await eventually(`${name} has ${type} ${wanted}`, async () => {
    const ref = { resource: argusSessions, namespace, name };
    const session = await rig.kube.get<ArgusSession>(ref);
    const found = session?.status?.conditions?.find((each) => each.type === type);
    return found?.observedGeneration === session?.metadata.generation && found?.status === wanted;
  });
}
