import { expect } from "vitest";
import type { ArgusSessionStatus } from "#crds/argus-session.ts";
import { BOMBS } from "#test/support/bombs.ts";
import { eventually } from "#test/support/eventually.ts";
import { proofSize } from "#test/support/proof.ts";
import type { Release } from "#test/support/release.ts";

interface Death {
  name: string;
  /** Run by the agent's shell beside the app-server. */
  script?: string;
  spec?: object;
  /** Done from outside once the session is Ready. */
  act?: (argus: Release, node: Node) => Promise<void>;
  termination: Partial<NonNullable<ArgusSessionStatus["lastTermination"]>>;
}

interface Node {
  name: string;
  /** What its pods may ask for together, in thousandths of a CPU. */
  cpuMilli: number;
}

/** At full size all of them, which asks more of the node than a busy machine gives. */
const SOME = 5;
const ALL = 11;
const TOLD_MS = 240_000;
/** Of the node's CPU: two of them find no place beside everything else. */
const LARGE_SHARE = 0.45;
const NOWHERE = "127.0.0.1:1/nobody/nothing:1";
const toBridge = (signal: string) =>
  `kill -${signal} "$(pgrep -o -P 1 -f '[a]rgus.js bridge')"; sleep 600`;

const deaths = (node: Node): Death[] => [
  {
    name: "eater",
    script: "perl -e 'my $all = q(x) x 6e8; sleep 60'",
    spec: { resources: { limits: { memory: "256Mi" } } },
    termination: { reason: "OOMKilled", oomKilled: true },
  },
  {
    name: "bomb",
    script: BOMBS["fork loop"] ?? "",
    spec: { limits: { pids: 128 }, resources: { limits: { cpu: "500m" } } },
    termination: { reason: "PidLimit", pidLimitHit: true },
  },
  {
    name: "unpulled",
    spec: { runtime: { command: ["argus", "echo"], image: NOWHERE } },
    termination: { reason: "ImagePullFailed", message: expect.stringContaining(NOWHERE) },
  },
  {
    name: "late",
    spec: { podTemplate: { spec: { activeDeadlineSeconds: 20 } } },
    termination: { reason: "DeadlineExceeded" },
  },
  {
    name: "misplaced",
    spec: { podTemplate: { spec: { nodeName: node.name, nodeSelector: { moon: "yes" } } } },
    termination: { reason: "NodeAffinity" },
  },
  {
    name: "filler",
    script: "head -c 200M /dev/zero > /tmp/much; sleep 600",
    spec: { resources: { limits: { "ephemeral-storage": "32Mi" } } },
    termination: { reason: "Evicted", message: expect.stringContaining("ephemeral") },
  },
  {
    name: "fault",
    script: toBridge("SEGV"),
    termination: { reason: "Signal", signal: 11, exitCode: 139 },
  },
  {
    name: "frozen",
    script: toBridge("STOP"),
    termination: { reason: "Hung", signal: 9, exitCode: 137 },
  },
  { name: "asked", script: toBridge("TERM"), termination: { reason: "Stopped", exitCode: 0 } },
  {
    name: "drained",
    act: evicted,
    termination: { reason: "Evicted", message: expect.stringMatching(/evict/i) },
  },
  {
    name: "displaced",
    spec: { resources: { requests: { cpu: large(node) } } },
    act: displaced,
    termination: { reason: "Preempted" },
  },
];

/** What ends an agent on a real node: each session's status tells its own, whoever has to say it. */
export async function deathsAreNamed(argus: Release): Promise<void> {
  const node = await theNode(argus);
  const all = deaths(node).slice(0, proofSize(SOME, ALL));
  const told: [string, unknown][] = [];
  // The last of all needs most of the node.
  for (const some of [all.slice(0, ALL - 1), all.slice(ALL - 1)]) {
    if (some.length > 0) told.push(...(await die(argus, some, node)));
  }
  await argus.run(["delete", "pod/first", "priorityclass/argus-first", "--timeout=60s"]);
  const wanted = all.map(({ name, termination }) => [name, expect.objectContaining(termination)]);
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(wanted));
}

/** All at once; what their status says, each by its name. */
async function die(argus: Release, some: Death[], node: Node): Promise<[string, unknown][]> {
  const list = { apiVersion: "v1", kind: "List", items: some.map(sessionOf) };
  await argus.ok(["apply", "-f", "-"], JSON.stringify(list));
  const told = await Promise.all(
    some.map(async (death): Promise<[string, unknown]> => {
      await death.act?.(argus, node);
      return [death.name, await named(argus, death).catch(String)];
    }),
  );
  await argus.ok(["delete", ...some.map(sessionName), "--timeout=180s"]);
  return told;
}

const sessionName = ({ name }: Pick<Death, "name">): string => `argussession/${name}`;

function sessionOf({ name, script = "", spec }: Death): object {
  const command = ["/bin/bash", "-c", '(sleep 2; eval "$0") & exec "$@"', script, "argus"];
  const all = { runtime: { command, args: ["echo"] }, ...spec };
  return { apiVersion: "argus.dev/v1alpha1", kind: "ArgusSession", metadata: { name }, spec: all };
}

/** Its cause as status tells it at last: a container's end is reported before what the kubelet ended its pod for. */
async function named(argus: Release, { name, termination }: Death) {
  let seen: ArgusSessionStatus["lastTermination"];
  const isRight = async () => {
    const { status } = await argus.get<{ status?: ArgusSessionStatus }>(sessionName({ name }));
    seen = status?.lastTermination;
    return expect.objectContaining(termination).asymmetricMatch(seen);
  };
  await eventually(`the death of ${name} is named`, isRight, TOLD_MS).catch((error: unknown) => {
    if (!seen) throw error;
  });
  return seen;
}

async function theNode(argus: Release): Promise<Node> {
  const { items } = await argus.get<{
    items: { metadata: { name: string }; status: { allocatable: { cpu: string } } }[];
  }>("nodes");
  const [node] = items;
  if (!node) throw new Error("the cluster has no node");
  const { cpu } = node.status.allocatable;
  const cpuMilli = cpu.endsWith("m") ? Number.parseInt(cpu, 10) : Number(cpu) * 1000;
  return { name: node.metadata.name, cpuMilli };
}

function large({ cpuMilli }: Node): string {
  return `${Math.floor(cpuMilli * LARGE_SHARE)}m`;
}

async function podOf(argus: Release, session: string): Promise<string> {
  await argus.ok(["wait", "--for=condition=Ready", `argussession/${session}`, "--timeout=150s"]);
  const { status } = await argus.get<{ status: ArgusSessionStatus }>(`argussession/${session}`);
  return status.podName ?? "";
}

/** As draining a node does it, without closing the node for others. */
async function evicted(argus: Release): Promise<void> {
  const name = await podOf(argus, "drained");
  const path = `/api/v1/namespaces/${argus.namespace}/pods/${name}/eviction`;
  const metadata = { name, namespace: argus.namespace };
  const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata };
  await argus.ok(["create", "--raw", path, "-f", "-"], JSON.stringify(eviction));
}

/** A pod that counts more needs the place; its image is never there, being scheduled is enough. */
async function displaced(argus: Release, node: Node): Promise<void> {
  await podOf(argus, "displaced");
  const first = {
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    metadata: { name: "argus-first" },
    value: 1000,
  };
  const securityContext = {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"] },
    runAsNonRoot: true,
    runAsUser: 1000,
    seccompProfile: { type: "RuntimeDefault" },
  };
  const resources = { requests: { cpu: large(node) } };
  const containers = [{ name: "first", image: NOWHERE, resources, securityContext }];
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "first" },
    spec: { priorityClassName: "argus-first", terminationGracePeriodSeconds: 0, containers },
  };
  const list = { apiVersion: "v1", kind: "List", items: [first, pod] };
  await argus.ok(["apply", "-f", "-"], JSON.stringify(list));
}
