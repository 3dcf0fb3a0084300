import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { argusCrons, argusSessions, customResourceDefinitions } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { customResourceDefinitions as crds } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import { whyNoControlPlane } from "../cluster/binaries.ts";
import { type ApiPeer, startLocalPeer, startRealPeer } from "../support/api-peer.ts";
import { repeatedRules, rulesOf } from "../support/cel-rules.ts";

type Spec = Record<string, unknown>;
/** One spec, or one after another on the same object. */
type Case = [Spec] | [Spec, Spec];

interface Fixture {
  /** Where the rule stands. */
  path: string;
  /** A part of its message; also what tells several rules at one place apart. */
  message: string;
  accepts: Case[];
  rejects: Case[];
}

const claim = (storage: string) => [
  { metadata: { name: "workspace" }, spec: { resources: { requests: { storage } } } },
];
const template = (field: string, key: string) => ({
  podTemplate: { metadata: { [field]: { [key]: "x" } } },
});
const env = (name: string) => ({ runtime: { env: [{ name, value: "x" }] } });
const server = (name: string) => ({ mcpServers: [{ name, url: "https://tools.example/mcp" }] });
const cron = (fields: Spec) => ({
  schedule: "0 * * * *",
  sessionRef: { name: "main" },
  event: { text: "hello" },
  ...fields,
});

const SESSION: Fixture[] = [
  {
    path: "spec",
    message: "volumeClaimTemplates cannot be changed",
    accepts: [
      [{}, { approvals: "untrusted" }],
      [
        { volumeClaimTemplates: claim("1Gi") },
        { volumeClaimTemplates: claim("1Gi"), approvals: "untrusted" },
      ],
    ],
    rejects: [
      [{}, { volumeClaimTemplates: claim("1Gi") }],
      [{ volumeClaimTemplates: claim("1Gi") }, {}],
      [{ volumeClaimTemplates: claim("1Gi") }, { volumeClaimTemplates: claim("2Gi") }],
    ],
  },
  {
    path: "spec.idle",
    message: "parkAfterSeconds must be 0",
    accepts: [[{ idle: { parkAfterSeconds: 0 } }], [{ idle: { parkAfterSeconds: 30 } }]],
    rejects: [[{ idle: { parkAfterSeconds: 29 } }]],
  },
  {
    path: "spec.idle",
    message: "suspendAfterSeconds must be 0",
    accepts: [[{ idle: { suspendAfterSeconds: 0 } }], [{ idle: { suspendAfterSeconds: 30 } }]],
    rejects: [[{ idle: { suspendAfterSeconds: 1 } }]],
  },
  {
    path: "spec.heartbeat",
    message: "intervalSeconds must be 0",
    accepts: [[{ heartbeat: { intervalSeconds: 0 } }], [{ heartbeat: { intervalSeconds: 60 } }]],
    rejects: [[{ heartbeat: { intervalSeconds: 59 } }]],
  },
  {
    path: "spec.persistentVolumeClaimRetentionPolicy",
    message: "confirmDataLoss",
    accepts: [
      [{ persistentVolumeClaimRetentionPolicy: { whenSuspended: "Retain" } }],
      [
        {
          persistentVolumeClaimRetentionPolicy: { whenSuspended: "Delete", confirmDataLoss: true },
        },
      ],
    ],
    rejects: [[{ persistentVolumeClaimRetentionPolicy: { whenSuspended: "Delete" } }]],
  },
  {
    path: "spec.podTemplate.metadata.labels",
    message: "labels may not start with argus.dev/",
    accepts: [[template("labels", "team")]],
    rejects: [[template("labels", "argus.dev/session")]],
  },
  {
    path: "spec.podTemplate.metadata.annotations",
    message: "annotations may not start with argus.dev/",
    accepts: [[template("annotations", "example.com/argus.dev")]],
    rejects: [[template("annotations", "argus.dev/spec-hash")]],
  },
  {
    path: "spec.runtime.env[].name",
    message: "names that start with ARGUS_ belong to Argus",
    accepts: [[env("MY_ARGUS_")]],
    rejects: [[env("ARGUS_TOKEN_FILE")]],
  },
  {
    path: "spec.mcpServers[].name",
    message: "argus is Argus's own server",
    accepts: [[server("argus-2")]],
    rejects: [[server("argus")]],
  },
  {
    path: "spec.tokenGeneration",
    message: "tokenGeneration may only grow",
    accepts: [
      [{ tokenGeneration: 2 }, { tokenGeneration: 3 }],
      [{ tokenGeneration: 2 }, { tokenGeneration: 2, approvals: "untrusted" }],
    ],
    rejects: [[{ tokenGeneration: 2 }, { tokenGeneration: 1 }]],
  },
];

const CRON: Fixture[] = [
  {
    path: "spec.schedule",
    message: "put the time zone into timeZone",
    accepts: [[cron({})]],
    rejects: [
      [cron({ schedule: "TZ=UTC 0 * * * *" })],
      [cron({ schedule: "CRON_TZ=UTC 0 * * * *" })],
    ],
  },
  {
    path: "spec.timeZone",
    message: "name a zone",
    accepts: [[cron({ timeZone: "Europe/Helsinki" })]],
    rejects: [[cron({ timeZone: "local" })], [cron({ timeZone: "Local" })]],
  },
];

const FIXTURES: Record<string, Fixture[]> = { ArgusSession: SESSION, ArgusCron: CRON };
const RESOURCES = { ArgusSession: argusSessions, ArgusCron: argusCrons };

test("every rule has a case that it accepts and one that it rejects", () => {
  const rules = crds().flatMap(rulesOf);
  expect(rules.length).toBeGreaterThan(0);
  const without = rules.filter(
    ({ kind, path, message }) =>
      FIXTURES[kind]?.filter((each) => each.path === path && message.includes(each.message))
        .length !== 1,
  );
  expect(without).toEqual([]);
  expect(Object.values(FIXTURES).flat()).toHaveLength(rules.length);
});

const SERVERS: [string, () => Promise<ApiPeer>, string | undefined][] = [
  ["local", startLocalPeer, undefined],
  ["real", startRealPeer, whyNoControlPlane()],
];

describe.each(SERVERS)("%s API server", (_, start, reason) => {
  if (reason) {
    test.skip(`its rules (${reason})`, () => {});
    return;
  }
  let peer: ApiPeer;
  let kube: KubeClient;
  beforeAll(async () => {
    peer = await start();
    kube = await createKubeClient({ kubeconfig: peer.kubeconfig, logger: silentLogger() });
  });
  afterAll(async () => {
    await kube.close();
    await peer.close();
  });

  let made = 0;
  /** The API server's words about the last of these specs; "" = accepted. */
  async function judged(kind: keyof typeof RESOURCES, [first, second]: Case): Promise<string> {
    made += 1;
    const metadata = { name: `case-${made}`, namespace: "default" };
    const object = { apiVersion: "argus.dev/v1alpha1", kind, metadata, spec: first };
    const created = await refusal(() => kube.create(RESOURCES[kind], object));
    if (!second) return created.words;
    if (!created.object) throw new Error(`the first spec was refused: ${created.words}`);
    const next = { ...created.object, spec: second };
    return (await refusal(() => kube.replace(RESOURCES[kind], next))).words;
  }

  const all = Object.entries(FIXTURES).flatMap(([kind, fixtures]) =>
    fixtures.map((fixture) => ({ kind: kind as keyof typeof RESOURCES, ...fixture })),
  );
  test.each(all)("$kind: $path: $message", async ({ kind, message, accepts, rejects }) => {
    for (const each of accepts) expect(await judged(kind, each), JSON.stringify(each)).toBe("");
    for (const each of rejects) {
      expect(await judged(kind, each), JSON.stringify(each)).toContain(message);
    }
  });

  // The local server estimates no costs and takes them all.
  test.each(crds().map((crd) => [crd]))(
    "ten times the rules of a CRD are within its budget of estimated cost",
    async (crd) => {
      const { group, version, plural } = customResourceDefinitions;
      const answer = await kube.request("POST", `/apis/${group}/${version}/${plural}`, {
        query: { dryRun: "All" },
        body: repeatedRules(crd, 10),
      });
      const { message } = (await answer.body.json()) as { message?: string };
      expect(answer.status, message).toBe(201);
    },
  );
});

async function refusal(
  call: () => Promise<KubeObject>,
): Promise<{ object?: KubeObject; words: string }> {
  try {
    return { object: await call(), words: "" };
  } catch (error) {
    return { words: (error as Error).message };
  }
}
