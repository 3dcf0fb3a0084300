import { expect, test } from "vitest";
import type { PodCondition, PodStatus, Terminated } from "#cluster/core-types.ts";
import { lastTermination } from "#controller/session/last-termination.ts";
import { computeStatus, isUrgent } from "#controller/session/status.ts";
import type { BridgeStatus, TerminationMessage } from "#protocol/bridge.ts";
import { randomFrom } from "../../support/replicas.ts";
import { proofSeed } from "../../support/seed.ts";
import { NOW, observedOf, podOf, sessionOf } from "../../support/sessions.ts";

const session = sessionOf();
const END = "2030-01-01T11:30:00Z";
const told = (reason: TerminationMessage["reason"], more: Partial<TerminationMessage> = {}) =>
  JSON.stringify({ reason, message: `said ${reason}`, ...more });
const ended = (end: Partial<Terminated>, conditions: PodCondition[] = []): PodStatus => ({
  phase: "Running",
  conditions,
  containerStatuses: [
    {
      name: "agent",
      state: { running: { startedAt: "2030-01-01T11:30:05Z" } },
      lastState: { terminated: { exitCode: 1, reason: "Error", finishedAt: END, ...end } },
    },
  ],
});
const unready = (since: string): PodCondition => ({
  type: "Ready",
  status: "False",
  lastTransitionTime: since,
});
const disrupted = (reason: string, message = "why"): PodCondition => ({
  type: "DisruptionTarget",
  status: "True",
  reason,
  message,
  lastTransitionTime: END,
});
const waiting = (reason: string): PodStatus => ({
  phase: "Pending",
  containerStatuses: [{ name: "agent", state: { waiting: { reason, message: "back-off" } } }],
});
const killed = {
  killed: { reason: "PidLimit", message: "at the limit", at: Date.parse(END) },
} as BridgeStatus;

const starved = {
  killed: { reason: "OOMKilled", message: "no memory", at: Date.parse(END) },
} as BridgeStatus;

const MINUTE_BEFORE = "2030-01-01T11:29:00Z";
const SECONDS_BEFORE = "2030-01-01T11:29:55Z";

/** Each cause as a kubelet and a bridge report it, and what people read. */
const CASES: [string, object, PodStatus, BridgeStatus?][] = [
  [
    "out of memory",
    { reason: "OOMKilled", oomKilled: true, signal: 9 },
    ended({ exitCode: 137, reason: "OOMKilled" }),
  ],
  [
    "out of memory, whatever the bridge said before",
    { reason: "OOMKilled", oomKilled: true },
    ended({ exitCode: 137, reason: "OOMKilled", message: told("AppServerFailed") }),
  ],
  [
    "process limit, by the bridge's last words",
    { reason: "PidLimit", pidLimitHit: true, message: "said PidLimit" },
    ended({ message: told("PidLimit", { pidLimitHit: true }) }),
  ],
  [
    "process limit, of an agent that the bridge outlived",
    { reason: "PidLimit", pidLimitHit: true, message: "at the limit", finishedAt: END },
    { phase: "Running" },
    killed,
  ],
  [
    "out of memory, of an agent that the bridge outlived",
    { reason: "OOMKilled", oomKilled: true, message: "no memory", finishedAt: END },
    { phase: "Running" },
    starved,
  ],
  [
    "full volume",
    { reason: "DiskFull", message: "said DiskFull" },
    ended({ message: told("DiskFull") }),
  ],
  [
    "full ephemeral storage",
    { reason: "Evicted", message: "Pod ephemeral local storage usage exceeds the total limit" },
    {
      phase: "Failed",
      reason: "Evicted",
      message: "Pod ephemeral local storage usage exceeds the total limit",
    },
  ],
  [
    "eviction for the node's memory",
    { reason: "Evicted", message: "The node was low on resource: memory." },
    {
      ...ended({ exitCode: 137 }, [disrupted("TerminationByKubelet")]),
      phase: "Failed",
      reason: "Evicted",
      message: "The node was low on resource: memory.",
    },
  ],
  [
    "drained node",
    { reason: "Evicted", finishedAt: END },
    ended({ exitCode: 143 }, [disrupted("EvictionByEvictionAPI")]),
  ],
  [
    "preempted",
    { reason: "Preempted" },
    ended({ exitCode: 143 }, [disrupted("PreemptionByScheduler")]),
  ],
  [
    "node lost, by its taint",
    { reason: "NodeLost" },
    { phase: "Running", conditions: [disrupted("DeletionByTaintManager")] },
  ],
  [
    "node gone",
    { reason: "NodeLost" },
    { phase: "Failed", conditions: [disrupted("DeletionByPodGC")] },
  ],
  ["image pull", { reason: "ImagePullFailed" }, waiting("ImagePullBackOff")],
  ["image pull, first try", { reason: "ImagePullFailed" }, waiting("ErrImagePull")],
  ["exit code", { reason: "Error", exitCode: 3 }, ended({ exitCode: 3 })],
  [
    "app-server that keeps ending",
    { reason: "AppServerFailed", exitCode: 1 },
    ended({ message: told("AppServerFailed") }),
  ],
  [
    "end of its own will",
    { reason: "Completed", exitCode: 0 },
    ended({ exitCode: 0, reason: "Completed" }),
  ],
  ["signal", { reason: "Signal", signal: 11, exitCode: 139 }, ended({ exitCode: 139 })],
  [
    "signal, by a runtime that names it",
    { reason: "Signal", signal: 6 },
    ended({ exitCode: 0, signal: 6 }),
  ],
  [
    "kill of a ready agent",
    { reason: "Signal", signal: 9 },
    ended({ exitCode: 137 }, [unready(SECONDS_BEFORE)]),
  ],
  [
    "stop of a ready agent",
    { reason: "Stopped" },
    ended({ exitCode: 143, message: told("Stopped") }),
  ],
  [
    "stop of an agent that its node was long in starting",
    { reason: "Stopped" },
    ended({ exitCode: 0, message: told("Stopped"), startedAt: SECONDS_BEFORE }, [
      unready(MINUTE_BEFORE),
    ]),
  ],
  [
    "liveness probe",
    { reason: "ProbeFailed" },
    ended({ exitCode: 0, message: told("Stopped") }, [unready(MINUTE_BEFORE)]),
  ],
  [
    "liveness probe, without a word",
    { reason: "ProbeFailed", signal: 15 },
    ended({ exitCode: 143 }, [unready(MINUTE_BEFORE)]),
  ],
  ["hang", { reason: "Hung", signal: 9 }, ended({ exitCode: 137 }, [unready(MINUTE_BEFORE)])],
  [
    "words that are no JSON",
    { reason: "Error", message: "Killed\n" },
    ended({ message: "Killed\n" }),
  ],
];

test.each(CASES)("%s", (_, expected, status, bridge) => {
  expect(lastTermination(podOf(session, status), bridge, undefined)).toMatchObject(expected);
});

test("a pod that somebody deletes is not said to be killed by a probe", () => {
  const pod = podOf(session, ended({ exitCode: 137 }, [unready(MINUTE_BEFORE)]));
  pod.metadata.deletionTimestamp = END;
  expect(lastTermination(pod, undefined, undefined)?.reason).toBe("Signal");
});

test("the newest end counts, and what was known is kept byte for byte", () => {
  const first = lastTermination(podOf(session, ended({ exitCode: 3 })), undefined, undefined);
  expect(lastTermination(podOf(session, ended({ exitCode: 3 })), undefined, first)).toEqual(first);
  expect(lastTermination(podOf(session, { phase: "Running" }), undefined, first)).toEqual(first);
  expect(lastTermination(undefined, undefined, first)).toEqual(first);
  const later = { ...first, reason: "Later", finishedAt: "2030-01-01T11:31:00Z" };
  expect(lastTermination(podOf(session, ended({ exitCode: 3 })), undefined, later)).toEqual(later);
  // Recorded while unready; once the agent is ready again the cause stays what it was.
  const hung = lastTermination(
    podOf(session, ended({ exitCode: 137 }, [unready(MINUTE_BEFORE)])),
    undefined,
    first,
  );
  expect(hung?.reason).toBe("Error");
  const probed = lastTermination(
    podOf(session, ended({ exitCode: 137 }, [unready(MINUTE_BEFORE)])),
    undefined,
    undefined,
  );
  const ready = ended({ exitCode: 137 }, [{ type: "Ready", status: "True" }]);
  expect(lastTermination(podOf(session, ready), undefined, probed)).toEqual(probed);
});

test("a death is told at once, and what a bridge claims has its bounds", () => {
  const starting = computeStatus(observedOf(session, { pod: podOf(session) }), undefined, NOW);
  const told_ = sessionOf({}, { status: starting });
  const pod = podOf(told_, ended({ exitCode: 3 }));
  const next = computeStatus(observedOf(told_, { pod }), undefined, NOW);
  expect(isUrgent(told_, next)).toBe(true);
  const wild = { killed: { reason: "PidLimit", message: "x", at: 1e300 } } as BridgeStatus;
  expect(lastTermination(podOf(session), wild, undefined)?.finishedAt).toBe("9999-12-31T00:00:00Z");
});

/** The ten causes that people are told apart, each in all the ways that it is reported above. */
const CAUSES: Record<string, RegExp> = {
  OOMKilled: /^out of memory/,
  PidLimit: /^process limit/,
  DiskFull: /^full volume/,
  Evicted: /^full ephemeral|^eviction|^drained/,
  NodeLost: /^node/,
  ImagePullFailed: /^image pull/,
  Error: /^exit code/,
  Signal: /^signal|^kill of/,
  ProbeFailed: /^liveness/,
  Hung: /^hang/,
};
const EARLIER = "2030-01-01T11:20:00Z";

/** The ways in which a kubelet shows one end: at first in the state, then in the last state, with the next start after it. */
function stages(status: PodStatus): PodStatus[] {
  const [agent] = status.containerStatuses ?? [];
  const terminated = agent?.lastState?.terminated;
  if (!agent || !terminated) return [status];
  const lastState = { terminated };
  const withAgent = (changed: object): PodStatus => ({
    ...status,
    containerStatuses: [{ name: "agent", ...changed }],
  });
  return [
    withAgent({ state: { terminated } }),
    withAgent({ state: { waiting: { reason: "CrashLoopBackOff", message: "5m0s" } }, lastState }),
    status,
    { ...withAgent({ ...agent }), conditions: [{ type: "Ready", status: "True" }] },
  ];
}

test("ten causes, a hundred deaths each: named right at the first look, and so ever after, whatever came before", () => {
  const random = randomFrom(proofSeed());
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  let deaths = 0;
  for (const [reason, names] of Object.entries(CAUSES)) {
    const cases = CASES.filter(([name]) => names.test(name));
    for (let run = 0; run < 100; run += 1) {
      const [name, , status, bridge] = pick(cases);
      let known =
        random() < 0.5 ? { reason: pick(Object.keys(CAUSES)), finishedAt: EARLIER } : undefined;
      const seen: PodStatus[] = stages(status);
      // Whoever comes late sees a later stage first; the last one tells no more that a probe failed.
      const first = Math.floor(random() * Math.max(1, seen.length - 1));
      for (const stage of seen
        .slice(first)
        .flatMap((each) => (random() < 0.3 ? [each, each] : [each]))) {
        const told = lastTermination(podOf(session, stage), bridge, known);
        expect(told?.reason, `${reason}: ${name}`).toBe(reason);
        known = told as NonNullable<typeof known>;
      }
      deaths += 1;
    }
  }
  console.info(`${deaths} deaths`);
  expect(deaths).toBe(1000);
});
