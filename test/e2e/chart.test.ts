import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Pod } from "#cluster/core-types.ts";
import { readAudit } from "#test/cluster/audit.ts";
import { type Cluster, useCluster, whyNoCluster } from "#test/cluster/cluster.ts";
import { ADDRESSES } from "#test/cluster/node-files.ts";
import { type FakeModel, startFakeModel } from "#test/fakes/model.ts";
import { CHART } from "#test/support/chart.ts";
import { eventually } from "#test/support/eventually.ts";
import { HELMS } from "#test/support/helm.ts";
import { provideImages, whyNoImages } from "#test/support/images.ts";
import { askedBy, compareRights, grantedTo } from "#test/support/rbac.ts";
import { laterChart, Release } from "#test/support/release.ts";
import { runProgram } from "#test/support/run-program.ts";
import { deathsAreNamed } from "./support/deaths.ts";
import { NODE_VALUES, Person, podIsANode, withOwnServer } from "./support/nodes.ts";
import {
  byWebhook,
  type Chat,
  filesAndButtons,
  serviceUrl,
  whileTheBotsAreReplaced,
  withDevice,
  withTelegram,
} from "./support/people.ts";
import { forwarded } from "./support/port-forward.ts";
import { isTold, namesTheRule, refusedAtOnce, WRONGS } from "./support/wrongs.ts";

const ROOT = join(import.meta.dirname, "..", "..");
/** The release that follows this one: the same tree in other images, with a field more. */
const LATER = "9.9.9";
interface Values {
  image?: { repository: string; tag?: string };
  runtimeImage?: { repository: string; tag?: string };
  model?: object;
}

const HOST = ADDRESSES.HOST_ADDRESS;
const START_MS = 1_200_000;
const READY = ["wait", "--for=condition=Ready"];
const reason = whyNoCluster() ?? (process.env.KUBECONFIG ? undefined : await whyNoImages());

if (reason) test.skip(`a release on a real cluster (${reason})`, () => {});
else
  describe("a release on a real cluster", () => {
    let cluster: Cluster;
    let model: FakeModel | undefined;
    let values: Values = {};
    beforeAll(async () => {
      cluster = await useCluster();
      const names = await provideImages(cluster);
      await provideImages(cluster, { version: LATER, images: ["argus"] });
      const repository = (name: string) => name.slice(0, name.lastIndexOf(":"));
      const key = `canary-${randomUUID()}`;
      // The pods of a cluster of somebody else's do not reach this machine.
      model = cluster.own && (await startFakeModel({ host: HOST, requireKey: key }));
      values = {
        image: { repository: repository(names.argus) },
        runtimeImage: { repository: repository(names["argus-runtime"]) },
        ...(model && { model: { upstream: model.url, name: "fake-model", key } }),
      };
    }, START_MS);
    afterAll(() => model?.close());
    const release = (namespace: string) =>
      new Release({ version: HELMS[0], kubeconfig: cluster.kubeconfig, namespace });

    test.for(HELMS)(
      "%s: install, talk, upgrade, roll back, uninstall",
      { timeout: 600_000 },
      async (version) => {
        const namespace = `e2e-${version}`;
        const argus = new Release({ version, kubeconfig: cluster.kubeconfig, namespace });
        await argus.makeNamespace();
        const wait = ["--wait", "--timeout", "3m"];
        const installed = await argus.helm("install", [CHART, ...wait], values);
        expect(installed.stderr).not.toMatch(/would violate/);
        await argus.helm("test", ["--timeout", "2m"]);
        await argus.ok(["apply", "-f", join(ROOT, "examples", "session.yaml")]);
        await argus.ok(["apply", "-f", join(ROOT, "examples", "codex.yaml")]);
        await ready(argus);
        const talk = async (words: string) => {
          expect(await say(argus, { to: "demo", words })).toContain(words);
          if (!model) return;
          const answer = await say(argus, { to: "codex", words });
          expect(answer).toContain(`You said: ${words}`);
        };
        await talk("hello from outside");
        if (version === HELMS.at(-1)) await everyMinute(argus);
        const before = await sessionPods(argus);
        expect(before).toHaveLength(2);
        const first = await controlPlane(argus);

        const later = await laterChart(LATER);
        try {
          // Sessions keep the image that they started with; the new one need not even be there yet.
          await argus.helm("upgrade", [later.path, ...wait], tagged(values, LATER));
        } finally {
          await later.remove();
        }
        await eventually("the new field is served", async () => {
          return (await argus.run(["explain", "argussession.spec.laterField"])).code === 0;
        });
        await talk("after the upgrade");
        expect(await sessionPods(argus)).toEqual(before);
        await updateAvailable(argus, "True");
        const second = await controlPlane(argus);
        for (const part of ["controller", "gateway"]) {
          expect(first[part]).toMatch(/sha256:/);
          expect(second[part]).toMatch(/sha256:/);
          expect(second[part]).not.toBe(first[part]);
        }

        await argus.helm("rollback", ["1", ...wait]);
        await talk("and back");
        expect(await sessionPods(argus)).toEqual(before);
        expect(await controlPlane(argus)).toEqual(first);
        await updateAvailable(argus, "False");
        await rightsHold(cluster, argus, { "argus-controller": 6, "argus-gateway": 6 });

        await argus.helm("uninstall", wait);
        const left = await argus.ok(["get", "argussessions,pvc,pods", "-o", "name"]);
        expect(left).toContain("argussession.argus.dev/demo");
        expect(left).toContain("persistentvolumeclaim/state-argus-gateway-0");
        expect(await sessionPods(argus)).toEqual(before);

        await argus.helm("install", [CHART, ...wait], values);
        await ready(argus);
        expect(await sessionPods(argus)).toEqual(before);
        await remove(argus);
      },
    );

    test("what is wrong is said within ten seconds, nothing is retried hot, and status names what ended an agent", {
      timeout: 720_000,
    }, async () => {
      const argus = release("e2e-wrong");
      await argus.makeNamespace();
      await argus.helm("install", [CHART, "--wait", "--timeout", "3m"], values);
      // An API server learns of new kinds for the admission of their pods within half a minute.
      await argus.ok(["apply", "-f", join(ROOT, "examples", "session.yaml")]);
      await argus.ok([...READY, "argussession/demo", "--timeout=90s"]);
      await refusedAtOnce(argus);
      for (const wrong of WRONGS) await isTold(cluster, argus, wrong);
      await namesTheRule(cluster, argus);
      await deathsAreNamed(argus);
      await remove(argus);
    });

    // The pods of a cluster of somebody else's reach no Telegram of this machine.
    test.skipIf(Boolean(process.env.KUBECONFIG))(
      "a person talks in Telegram, and the agent works on a device that joined from outside through TLS",
      { timeout: 600_000 },
      async () => {
        if (!model) throw new Error("this cluster's pods reach no model of this machine");
        const given = { model, values, cluster };
        await withTelegram(HOST, (chat) => people(release("e2e-people"), chat, given));
      },
    );
  });

async function people(
  argus: Release,
  chat: Chat,
  { model, values, cluster }: { model: FakeModel; values: Values; cluster: Cluster },
): Promise<void> {
  await argus.makeNamespace();
  const all = { ...values, ...chat.values, ...NODE_VALUES };
  const wait = ["--wait", "--timeout", "3m"];
  await argus.helm("install", [CHART, ...wait], all);
  await argus.ok(["apply", "-f", join(ROOT, "examples", "codex.yaml")]);
  await argus.ok([...READY, "argussession/codex", "--timeout=150s"]);
  await chat.ask("good morning", "You said: good morning");
  await whileTheBotsAreReplaced(argus, chat);
  await filesAndButtons(chat, model);
  const token = await adminToken(argus);
  const person = new Person({ url: await serviceUrl(argus), token });
  await withDevice(argus, { nodeId: "laptop", session: "codex", token }, async (host) => {
    await chat.ask("tool: mcp__argus/nodes_list {}", "laptop");
    const params = { argv: ["sh", "-c", "echo from afar in $HOME"] };
    const call = { node: "laptop", command: "system.run", params };
    const text = `tool: mcp__argus/node_invoke ${JSON.stringify(call)}`;
    await chat.ask(text, `from afar in ${host.folder}`);
    await person.agentFollows("codex", "laptop");
    await person.streams("codex", "laptop");
  });
  await withOwnServer(argus, { host: HOST, model, person }, (session) =>
    podIsANode(argus, person, session),
  );
  const upgrade = async (telegram: object) => {
    await argus.helm("upgrade", [CHART, ...wait], { ...all, telegram });
  };
  await byWebhook(argus, chat, upgrade);
  await rightsHold(cluster, argus, { "argus-bot": 3 });
  await remove(argus);
}

/** Everything of the release, the definitions too. */
async function remove(argus: Release): Promise<void> {
  await argus.ok(["delete", "argussessions", "--all", "--timeout=120s"]);
  await argus.helm("uninstall", ["--wait", "--timeout", "3m"]);
  await argus.ok(["delete", "namespace", argus.namespace, "--timeout=180s"]);
  await argus.ok(["delete", "crd", "argussessions.argus.dev", "arguscrons.argus.dev"]);
}

async function ready(argus: Release): Promise<void> {
  await argus.ok([...READY, "argussession/demo", "argussession/codex", "--timeout=150s"]);
}

/** The example's schedule, made to be due each minute: its slot becomes a turn of the session. */
async function everyMinute(argus: Release): Promise<void> {
  await argus.ok(["apply", "-f", join(ROOT, "examples", "cron.yaml")]);
  const often = JSON.stringify({ spec: { schedule: "* * * * *" } });
  await argus.ok(["patch", "arguscron", "morning", "--type=merge", "-p", often]);
  const run = ["wait", "arguscron/morning", "--for=jsonpath={.status.lastRun.state}=Succeeded"];
  await argus.ok([...run, "--timeout=150s"]);
  await argus.ok(["delete", "arguscron", "morning", "--timeout=60s"]);
}

async function podsOf(argus: Release, selector: string): Promise<Pod[]> {
  const list = await argus.ok(["get", "pods", "-l", selector, "-o", "json"]);
  return (JSON.parse(list) as { items: Pod[] }).items;
}

/** Which pods the sessions have, what runs in them, and whether they were ever started anew. */
async function sessionPods(argus: Release): Promise<object[]> {
  const pods = await podsOf(argus, "argus.dev/session");
  return pods.map(({ metadata, status }) => {
    const { restartCount, imageID } = status?.containerStatuses?.[0] ?? {};
    return { name: metadata.name, uid: metadata.uid, restartCount, imageID };
  });
}

/** Digests of what the control plane runs, by its part. */
async function controlPlane(argus: Release): Promise<Record<string, string | undefined>> {
  const pods = await podsOf(argus, `app.kubernetes.io/instance=${argus.name}`);
  const current = pods.filter(
    ({ metadata, status }) => !metadata.deletionTimestamp && status?.phase === "Running",
  );
  return Object.fromEntries(
    current.map(({ metadata, status }) => [
      metadata.labels?.["app.kubernetes.io/component"],
      status?.containerStatuses?.[0]?.imageID,
    ]),
  );
}

/** The values with other images. */
function tagged({ image, runtimeImage, ...others }: Values, tag: string): object {
  return { ...others, image: { ...image, tag }, runtimeImage: { ...runtimeImage, tag } };
}

async function updateAvailable(argus: Release, status: string): Promise<void> {
  const condition = `--for=condition=UpdateAvailable=${status}`;
  await argus.ok(["wait", condition, "argussession/demo", "--timeout=60s"]);
}

async function adminToken(argus: Release): Promise<string> {
  const secret = ["get", "secret", "argus-admin", "-o", "jsonpath={.data.token}"];
  return Buffer.from(await argus.ok(secret), "base64").toString();
}

/** One turn through the Service, by the client that people use. */
async function say(argus: Release, { to, words }: { to: string; words: string }): Promise<string> {
  const service = { what: "service/argus-gateway", port: 8080 };
  return forwarded(argus, service, async (url) => {
    const token = await adminToken(argus);
    const args = ["cli/argus.mjs", "chat", to, "--message", words, "--url", url];
    const env = { ...process.env, ARGUS_TOKEN: token };
    const options = { cwd: ROOT, env, timeoutMs: 120_000 };
    const { code, stdout, stderr } = await runProgram(process.execPath, args, options);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  });
}

/** By the audit log: nothing was refused and nothing asked for that the chart does not grant; so much at least was asked. */
async function rightsHold(
  { own }: Cluster,
  argus: Release,
  least: Record<string, number>,
): Promise<void> {
  if (!own) return;
  const manifest = await argus.manifest();
  const { entries } = await readAudit(own.auditLog);
  for (const [name, count] of Object.entries(least)) {
    const asked = askedBy(entries, { namespace: argus.namespace, name });
    expect(asked.length).toBeGreaterThanOrEqual(count);
    const { missing, refused } = compareRights(grantedTo(manifest, name), asked);
    expect({ name, missing, refused }).toEqual({ name, missing: [], refused: [] });
  }
}
