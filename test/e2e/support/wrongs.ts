import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import type { Condition } from "#crds/condition.ts";
import { type AuditEntry, isWrite, readAudit } from "#test/cluster/audit.ts";
import type { Cluster } from "#test/cluster/cluster.ts";
import { eventually } from "#test/support/eventually.ts";
import type { Release } from "#test/support/release.ts";
import { forwarded } from "./port-forward.ts";

/** What people wait for at most until a condition names the object and the fix. */
const TOLD_MS = 10_000;
/** Writes of the controller while it can do nothing about it: more would be a retry in a tight loop. */
const MAX_TRIES = 12;
const QUIET_MS = 5000;

interface Wrong {
  name: string;
  kind?: "ArgusSession" | "ArgusCron";
  spec?: object;
  /** What the cluster lacks while the object is made. */
  without?: (argus: Release) => Promise<() => Promise<void>>;
  /** Of the condition Ready. */
  reason: string;
  /** Each names an object or a fix. */
  words: string[];
  /** Once the cause is gone it must become Ready without a hand on the object. */
  heals?: boolean;
}

const echo = { command: ["argus", "echo"] };
const claim = {
  metadata: { name: "workspace" },
  spec: {
    accessModes: ["ReadWriteOnce"],
    storageClassName: "nowhere",
    resources: { requests: { storage: "1Gi" } },
  },
};

export const WRONGS: Wrong[] = [
  {
    name: "wrong-template",
    spec: { runtime: echo, podTemplate: { spec: { hostNetwork: true } } },
    reason: "SpecInvalid",
    words: ["podTemplate.spec.hostNetwork", "remove it"],
  },
  {
    name: "wrong-class",
    spec: { runtime: echo, volumeClaimTemplates: [claim] },
    reason: "Unschedulable",
    words: ["workspace-", "StorageClass nowhere is missing", "make it, or name another"],
  },
  {
    name: "wrong-image",
    spec: { runtime: { ...echo, image: "127.0.0.1:1/nobody/nothing:1" } },
    reason: "ImagePullFailed",
    words: ["127.0.0.1:1/nobody/nothing:1 cannot be pulled", "check spec.runtime.image"],
  },
  {
    name: "wrong-quota",
    spec: { runtime: echo },
    without: fullQuota,
    reason: "QuotaExceeded",
    words: ["exceeded quota: full", "free or raise it"],
    heals: true,
  },
  {
    name: "wrong-rule",
    spec: { runtime: echo },
    without: (argus) => withoutVerb(argus, { resource: "pods", verb: "create" }),
    reason: "Forbidden",
    words: ["add the verb create on pods", "argus-controller"],
    heals: true,
  },
  {
    name: "wrong-zone",
    kind: "ArgusCron",
    spec: {
      schedule: "0 9 * * *",
      timeZone: "Mars/Olympus",
      sessionRef: { name: "nobody" },
      event: { text: "hello" },
    },
    reason: "UnknownTimeZone",
    words: ["Mars/Olympus is not known", "give an IANA name"],
  },
];

/** Makes the wrong object, demands the words in time, no hot retry and, where the cause can go, that it heals. */
export async function isTold(cluster: Cluster, argus: Release, wrong: Wrong): Promise<void> {
  const { name, kind = "ArgusSession", spec } = wrong;
  const object = { apiVersion: "argus.dev/v1alpha1", kind, metadata: { name }, spec };
  const restore = await wrong.without?.(argus);
  await argus.ok(["apply", "-f", "-"], JSON.stringify(object));
  const told = await ready(argus, { kind, name }, ({ reason }) => reason === wrong.reason);
  for (const words of wrong.words) expect(told.message).toContain(words);
  await staysQuiet(cluster, argus);
  await restore?.();
  if (wrong.heals) await ready(argus, { kind, name }, ({ status }) => status === "True", 90_000);
  await argus.ok(["delete", kind, name, "--timeout=60s"]);
}

async function ready(
  argus: Release,
  { kind, name }: { kind: string; name: string },
  is: (condition: Condition) => boolean,
  timeoutMs = TOLD_MS,
): Promise<Condition> {
  let last: Condition | undefined;
  const look = async () => {
    const { status } = await argus.get<{ status?: { conditions?: Condition[] } }>(
      `${kind}/${name}`,
    );
    last = status?.conditions?.find(({ type }) => type === "Ready");
    return last && is(last) && last;
  };
  return eventually(`${kind} ${name} in its condition`, look, timeoutMs).catch((error: unknown) => {
    throw new Error(`${String(error)}; its last condition: ${JSON.stringify(last)}`);
  });
}

/** Nobody can do anything until a person has: the audit log of some seconds shows no more than a few tries. */
async function staysQuiet({ own }: Cluster, { namespace }: Release): Promise<void> {
  if (!own) return;
  const { bytes } = await readAudit(own.auditLog);
  await delay(QUIET_MS);
  const { entries } = await readAudit(own.auditLog, bytes);
  const controller = `system:serviceaccount:${namespace}:argus-controller`;
  const isTry = (entry: AuditEntry) =>
    entry.user.username === controller && isWrite(entry) && entry.objectRef?.resource !== "leases";
  const tries = entries.filter(isTry).map(({ verb, requestURI }) => `${verb} ${requestURI}`);
  expect(tries.length, tries.join("\n")).toBeLessThan(MAX_TRIES);
}

/** No pod more; those that there are stay. */
async function fullQuota(argus: Release): Promise<() => Promise<void>> {
  await argus.ok(["create", "quota", "full", "--hard=pods=0"]);
  await eventually("the quota counts", async () => {
    const { status } = await argus.get<{ status?: { used?: { pods?: string } } }>("quota/full");
    return status?.used?.pods !== undefined;
  });
  return async () => void (await argus.ok(["delete", "quota", "full"]));
}

interface Role {
  rules: { resources: string[]; verbs: string[] }[];
}

/** Takes one verb from the controller's role; the returned function gives it back. */
async function withoutVerb(
  argus: Release,
  { resource, verb }: { resource: string; verb: string },
): Promise<() => Promise<void>> {
  const { rules } = await argus.get<Role>("role/argus-controller");
  const lesser = rules.map((rule) =>
    rule.resources.includes(resource)
      ? { ...rule, verbs: rule.verbs.filter((each) => each !== verb) }
      : rule,
  );
  // A rule without verbs is not valid.
  const valid = lesser.filter(({ verbs }) => verbs.length > 0);
  expect(valid).not.toEqual(rules);
  const patch = ["patch", "role", "argus-controller", "--type=merge", "-p"];
  const put = (all: Role["rules"]) => argus.ok([...patch, JSON.stringify({ rules: all })]);
  await put(valid);
  const can = async () => {
    const account = `system:serviceaccount:${argus.namespace}:argus-controller`;
    const { stdout } = await argus.run(["auth", "can-i", verb, resource, "--as", account]);
    return stdout.trim();
  };
  await eventually("the rule is gone", async () => (await can()) === "no");
  return async () => void (await put(rules));
}

/** When not even a status may be written, readiness and one line of the log name the rule, and it heals. */
export async function namesTheRule(cluster: Cluster, argus: Release): Promise<void> {
  const resource = "argussessions/status";
  const restore = await withoutVerb(argus, { resource, verb: "patch" });
  const session = {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusSession",
    metadata: { name: "mute" },
    spec: { runtime: echo },
  };
  await argus.ok(["apply", "-f", "-"], JSON.stringify(session));
  const rule = `add the verb patch on ${resource}.argus.dev`;
  const target = { what: "deployment/argus-controller", port: 8081 };
  await forwarded(argus, target, async (url) => {
    const unready = async () => {
      const answer = await fetch(`${url}/readyz`);
      return answer.status === 503 && (await answer.text()).includes(rule);
    };
    await eventually("the rule in /readyz", unready, TOLD_MS);
    await staysQuiet(cluster, argus);
    const log = await argus.ok(["logs", "deployment/argus-controller", "--tail=-1"]);
    const lines = log.split("\n").filter((line) => line.includes("not ready"));
    expect(lines.filter((line) => line.includes(rule))).toHaveLength(1);
    await restore();
    await eventually("ready again", async () => (await fetch(`${url}/readyz`)).status === 200);
  });
  await ready(argus, { kind: "ArgusSession", name: "mute" }, (it) => it.status === "True", 90_000);
}

/** The API server itself refuses what no schema allows, in words that name the field. */
export async function refusedAtOnce(argus: Release): Promise<void> {
  const object = {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusSession",
    metadata: { name: "wrong-field" },
    spec: { limits: { pids: "many" }, idle: { parkAfterSeconds: 1 } },
  };
  const { code, stderr } = await argus.run(["apply", "-f", "-"], JSON.stringify(object));
  expect(code).not.toBe(0);
  expect(stderr).toContain("spec.limits.pids");
}
