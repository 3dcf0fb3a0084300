import { afterAll, beforeAll, expect, test } from "vitest";
import { ownWords } from "#protocol/prompt-text.ts";
import { ArgusUp, argus } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";

interface Lists {
  inputs: { id: string; state: string }[];
  ended: { id: string; key: string; state: string; reason: string }[];
  threadId: string | null;
  waitsFor: string;
}
interface Pod {
  metadata: { name: string; uid: string; deletionTimestamp?: string };
}

let up: ArgusUp;
beforeAll(async () => {
  up = await ArgusUp.start();
});
afterAll(async () => {
  await up?.destroy();
});

const yaml = (name: string, more = "") => `
apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: ${name} }
spec:
  heartbeat: { intervalSeconds: 0 }
  idle: { suspendAfterSeconds: 30 }
  runtime:
    command: [argus, echo]
${more}`;
const LATER =
  "    env: [{ name: KEY, valueFrom: { secretKeyRef: { name: not-there-yet, key: key } } }]\n";
const apply = (text: string) => up.kubectl(["apply", "-f", "-"], text);

/** As any program would, without a connection of its own. */
async function call(session: string, method: string, params: object = {}) {
  const answer = await fetch(`${up.url}/call`, {
    method: "POST",
    headers: { authorization: `Bearer ${up.token}`, "content-type": "application/json" },
    body: JSON.stringify({ session, method: `argus/${method}`, params }),
  });
  const { result, detail } = (await answer.json()) as { result?: object; detail?: string };
  if (!result) throw new Error(`${method}: ${answer.status} ${detail}`);
  return result as Record<string, unknown>;
}
/** Until it is answered: a repeat is the same message. */
const send = (session: string, key: string) =>
  eventually(`${key} is accepted`, () =>
    call(session, "input/enqueue", { text: `the text of ${key}`, key }),
  );
const lists = async (session: string) => (await call(session, "input/list")) as unknown as Lists;
const done = (session: string, key: string) =>
  eventually(`${key} ended`, async () =>
    (await lists(session)).ended.find((each) => each.key === key),
  );

async function podsOf(session: string): Promise<Pod[]> {
  const labels = `argus.dev/session=${session}`;
  const { items } = JSON.parse(await up.kubectl(["get", "pods", "-l", labels, "-o", "json"])) as {
    items: Pod[];
  };
  return items;
}
async function conditionOf(session: string, type: string): Promise<string> {
  const path = `{range .status.conditions[?(@.type=="${type}")]}{.status} {.reason}{end}`;
  return await up.kubectl(["get", "argussession", session, "-o", `jsonpath=${path}`]);
}
const cold = (session: string) =>
  eventually(
    `${session} is cold`,
    async () =>
      (await conditionOf(session, "Suspended")) === "True PodTerminated" &&
      (await podsOf(session)).length === 0,
    90_000,
  );

/** Texts of the user's messages in the session's main thread. */
async function said(session: string): Promise<string[]> {
  const { threadId } = await lists(session);
  const client = await up.connect({ session });
  await client.initialize();
  const { thread } = await client.request("thread/read", { threadId, includeTurns: true });
  await client.close();
  const { turns } = thread as {
    turns: { items: { type: string; content?: { text: string }[] }[] }[];
  };
  return turns
    .flatMap(({ items }) => items.filter(({ type }) => type === "userMessage"))
    .map(({ content }) => ownWords(content?.[0]?.text ?? ""));
}
const killed = (name: string) => {
  for (const { pid } of up.find(`argus.ts ${name}`)) process.kill(pid, "SIGKILL");
};

test("an idle session loses its pod; a message, however often sent, wakes it and is answered once", {
  timeout: 300_000,
}, async () => {
  await apply(yaml("sleepy"));
  await send("sleepy", "first");
  await done("sleepy", "first");
  await cold("sleepy");
  const seen = new Set<string>();
  for (const _ of [1, 2, 3]) await send("sleepy", "second");
  await eventually("its answer", async () => {
    for (const { metadata } of await podsOf("sleepy")) seen.add(metadata.uid);
    return (await lists("sleepy")).ended.find(({ key }) => key === "second");
  });
  expect(seen.size).toBe(1);
  expect(await said("sleepy")).toEqual(["the text of first", "the text of second"]);

  // Once more, and everything that could wake it dies when the message has been accepted.
  await cold("sleepy");
  await send("sleepy", "third");
  killed("gateway");
  killed("controller");
  await done("sleepy", "third");
  expect(await said("sleepy")).toEqual([
    "the text of first",
    "the text of second",
    "the text of third",
  ]);
});

test("a message to a pod that cannot start is told what it waits for, and answered once it can", {
  timeout: 200_000,
}, async () => {
  await apply(yaml("stuck", LATER));
  await send("stuck", "patient");
  await eventually("it is said", async () =>
    (await lists("stuck")).waitsFor.includes("not-there-yet"),
  );
  const again = await send("stuck", "patient");
  expect(again).toMatchObject({ repeated: true, waitsFor: expect.stringContaining("not-there") });
  const shown = await argus(["sessions", "show", "stuck", "--data", up.data]);
  expect(shown.stdout).toMatch(/^waiting +1 messages/m);
  expect(shown.stdout).toMatch(/^waits for .*not-there-yet/m);
  killed("gateway");
  await eventually("it still waits after a restart", async () => {
    const { inputs, waitsFor } = await lists("stuck");
    return inputs.length === 1 && waitsFor.includes("not-there-yet");
  });
  await up.kubectl(["create", "secret", "generic", "not-there-yet", "--from-literal=key=x"]);
  expect(await done("stuck", "patient")).toMatchObject({ state: "done" });
  expect(await said("stuck")).toEqual(["the text of patient"]);
  await up.kubectl(["delete", "secret", "not-there-yet"]);
});

test("made again under its name, a session loses nothing of the new one and runs nothing of the old", {
  timeout: 200_000,
}, async () => {
  await apply(yaml("phoenix", LATER));
  await send("phoenix", "old");
  const uid = await up.kubectl([
    "get",
    "argussession",
    "phoenix",
    "-o",
    "jsonpath={.metadata.uid}",
  ]);
  const client = await up.connect({ session: "phoenix" });
  await up.kubectl(["delete", "argussession", "phoenix", "--wait=false"]);
  const ended = await client.waitFor("its end", ({ method }) => method === "argus/input/ended");
  expect(ended.params?.["reason"]).toContain("the session was deleted");
  await client.close();
  await eventually("the old one is gone", async () => {
    const left = await up.tryKubectl(["get", "argussession", "phoenix"]);
    return left.code !== 0;
  });
  await apply(yaml("phoenix"));
  await send("phoenix", "new");
  killed("gateway");
  expect(await done("phoenix", "new")).toMatchObject({ state: "done" });
  const next = await up.kubectl([
    "get",
    "argussession",
    "phoenix",
    "-o",
    "jsonpath={.metadata.uid}",
  ]);
  expect(next).not.toBe(uid);
  expect((await lists("phoenix")).ended.map(({ key }) => key)).toEqual(["new"]);
  expect(await said("phoenix")).toEqual(["the text of new"]);
});
