import { customResourceDefinitions as definitions } from "#cluster/resources.ts";
import { customResourceDefinitions as crds } from "#crds/kinds.ts";
import { repeatedRules, rulesOf } from "../../support/cel-rules.ts";
import type { Row } from "../relay/report.ts";
import { figure } from "./figures.ts";
import type { Rig } from "./rig.ts";

/** Compiling longer rules than that takes the API server longer than a call may. */
const MOST = 128;

/**
 * K15: how often each rule could stand in its CRD before the API server refuses it for its estimated cost. Ten times = a
 * tenth of the budget. Asked by dry runs, since the server tells the estimate only when it is too high.
 */
export async function ruleCosts(
  rig: Rig,
  { say }: { say: (text: string) => void },
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const crd of crds()) {
    const { names } = crd.spec as { names: { kind: string } };
    const rules = rulesOf(crd).length;
    let times = 1;
    while (times < MOST && (await accepts(crd, times * 2, { rig, say }))) times *= 2;
    const what = `${names.kind}: all ${rules} rules at most this share of the cost budget`;
    rows.push(figure({ goal: "K15", what, atMost: 10, unit: " %" }, [100 / times]));
  }
  return rows;
}

async function accepts(
  crd: object,
  times: number,
  { rig, say }: { rig: Rig; say: (text: string) => void },
): Promise<boolean> {
  const { group, version, plural } = definitions;
  const answer = await rig.kube.request("POST", `/apis/${group}/${version}/${plural}`, {
    query: { dryRun: "All" },
    body: repeatedRules(crd, times),
  });
  const body = (await answer.body.json()) as { message?: string };
  if (answer.status < 300) return true;
  if (!/cost|exceeds|Too long/i.test(body.message ?? "")) throw new Error(body.message);
  say(
    `K15: ${times} times each: ${body.message?.replace(/Invalid value: "[^"]*"/g, "").slice(0, 600)}`,
  );
  return false;
}
