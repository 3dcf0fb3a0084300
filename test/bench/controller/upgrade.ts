import { setTimeout as delay } from "node:timers/promises";
import { argusSessions, customResourceDefinitions, pods } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { customResourceDefinitions as definitions } from "#crds/kinds.ts";
import { FakeKubelet } from "../../fakes/kubelet.ts";
import { eventually } from "../../support/eventually.ts";
import type { Row } from "../relay/report.ts";
import { figure } from "./figures.ts";
import { names, type Rig } from "./rig.ts";

const ALL_MS = 10 * 60_000;
/** After the last session has been looked at by a new controller. */
const SETTLE_MS = 10_000;

interface Release {
  image: string;
  /** Whether ArgusSession has the newer release's field. */
  hasField: boolean;
  /** What sessions of the first release say under it. */
  updateAvailable: "True" | "False";
}

const FIRST: Release = { image: "argus:first", hasField: false, updateAvailable: "False" };
const NEXT: Release = { image: "argus:next", hasField: true, updateAvailable: "True" };

/** K16: so many live sessions over an upgrade and back, with another image and one CRD field more: pods that were restarted. */
export async function upgrades(
  rig: Rig,
  { quick, say }: { quick: boolean; say: (text: string) => void },
): Promise<Row[]> {
  const count = quick ? 10 : 200;
  const namespace = await rig.namespace("upgrade");
  const kubelet = await FakeKubelet.start({ kube: rig.kube, namespace, podIP: "127.66.3.1" });
  const restarted: number[] = [];
  try {
    let before: Map<string, string> | undefined;
    for (const [step, release] of [FIRST, NEXT, FIRST].entries()) {
      say(`K16: ${count} sessions, ${release.image}`);
      await define(rig, release);
      const environment = { ARGUS_DEFAULT_IMAGE: release.image };
      const controller = await rig.controller(namespace, { environment });
      try {
        if (step === 0) await rig.createMany(namespace, names("live", count));
        await allAre(rig, { namespace, count, release });
        await delay(quick ? 1000 : SETTLE_MS);
      } finally {
        await controller.kill("SIGTERM");
      }
      const now = await podsOf(rig, namespace);
      before ??= now;
      restarted.push(changed(before, now));
    }
    const seen = [...kubelet.seen.values()].reduce((sum, uids) => sum + uids.size, 0);
    restarted.push(seen - count);
  } finally {
    await kubelet.stop();
  }
  const what = `session pods restarted by an upgrade and back, ${count} live sessions`;
  return [figure({ goal: "K16", what, atMost: 0 }, [Math.max(...restarted)])];
}

/** ArgusSession as that release has it. */
async function define({ kube }: Rig, { hasField }: Release): Promise<void> {
  const [session] = (definitions() as unknown as KubeObject[]).filter(
    ({ metadata }) => metadata.name === "argussessions.argus.dev",
  );
  if (!session) throw new Error("no definition of ArgusSession");
  const text = JSON.stringify(session);
  const more = text.replaceAll('"operatingMode":{', '"laterField":{"type":"string"},$&');
  if (more === text) throw new Error("the definition has nothing to change");
  const object = JSON.parse(hasField ? more : text) as KubeObject;
  await kube.apply(customResourceDefinitions, object, { fieldManager: "test", force: true });
}

/** Every session is Ready and has been looked at by this release's controller. */
async function allAre(
  rig: Rig,
  { namespace, count, release }: { namespace: string; count: number; release: Release },
): Promise<void> {
  const wanted = new Map([
    ["Ready", "True"],
    ["UpdateAvailable", release.updateAvailable],
  ]);
  const is = ({ status }: ArgusSession) =>
    [...wanted].every(([type, value]) =>
      status?.conditions?.some((each) => each.type === type && each.status === value),
    );
  const look = async () => {
    await delay(1000);
    const { items } = await rig.kube.list<ArgusSession>(argusSessions, { namespace });
    return items.filter(is).length === count;
  };
  await eventually(`${count} sessions under ${release.image}`, look, ALL_MS);
}

async function podsOf({ kube }: Rig, namespace: string): Promise<Map<string, string>> {
  const { items } = await kube.list(pods, { namespace });
  return new Map(items.map(({ metadata }) => [metadata.name, metadata.uid ?? ""]));
}

function changed(before: Map<string, string>, now: Map<string, string>): number {
  const all = new Set([...before.keys(), ...now.keys()]);
  return [...all].filter((name) => before.get(name) !== now.get(name)).length;
}
