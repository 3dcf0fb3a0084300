import { afterAll, beforeAll, expect, test } from "vitest";
import { ArgusUp, argus } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { textOf, UpSessions } from "#test/support/up-sessions.ts";

interface Pod {
  metadata: { name: string; uid: string };
}

let up: ArgusUp;
let sessions: UpSessions;
beforeAll(async () => {
  up = await ArgusUp.start();
  sessions = new UpSessions(up);
});
afterAll(async () => {
  await up?.destroy();
});

const IDLE = "idle: { suspendAfterSeconds: 30 }\n";
const LATER = `runtime:
  command: [argus, echo]
  env: [{ name: KEY, valueFrom: { secretKeyRef: { name: not-there-yet, key: key } } }]
`;

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

test("an idle session loses its pod; a message, however often sent, wakes it and is answered once", {
  timeout: 300_000,
}, async () => {
  await sessions.apply("sleepy", IDLE);
  await sessions.send("sleepy", "first");
  await sessions.done("sleepy", "first");
  await cold("sleepy");
  const seen = new Set<string>();
  for (const _ of [1, 2, 3]) await sessions.send("sleepy", "second");
  await eventually("its answer", async () => {
    for (const { metadata } of await podsOf("sleepy")) seen.add(metadata.uid);
    return (await sessions.lists("sleepy")).ended.find(({ key }) => key === "second");
  });
  expect(seen.size).toBe(1);
  expect(await sessions.said("sleepy")).toEqual(["first", "second"].map(textOf));

  // Once more, and everything that could wake it dies when the message has been accepted.
  await cold("sleepy");
  await sessions.send("sleepy", "third");
  sessions.killed("gateway");
  sessions.killed("controller");
  await sessions.done("sleepy", "third");
  expect(await sessions.said("sleepy")).toEqual(["first", "second", "third"].map(textOf));
});

test("a chat wakes the session that it talks to", { timeout: 200_000 }, async () => {
  await cold("sleepy");
  const words = ["--message", "good morning", "--data", up.data];
  const { code, stdout } = await argus(["chat", "sleepy", ...words]);
  expect([code, stdout]).toEqual([0, expect.stringContaining("good morning")]);
});

test("a message to a pod that cannot start is told what it waits for, and answered once it can", {
  timeout: 200_000,
}, async () => {
  await sessions.apply("stuck", LATER);
  await sessions.send("stuck", "patient");
  await eventually("it is said", async () =>
    (await sessions.lists("stuck")).waitsFor.includes("not-there-yet"),
  );
  const again = await sessions.send("stuck", "patient");
  expect(again).toMatchObject({ repeated: true, waitsFor: expect.stringContaining("not-there") });
  const shown = await argus(["sessions", "show", "stuck", "--data", up.data]);
  expect(shown.stdout).toMatch(/^waiting +1 messages/m);
  expect(shown.stdout).toMatch(/^waits for .*not-there-yet/m);
  sessions.killed("gateway");
  await eventually("it still waits after a restart", async () => {
    const { inputs, waitsFor } = await sessions.lists("stuck");
    return inputs.length === 1 && waitsFor.includes("not-there-yet");
  });
  await up.kubectl(["create", "secret", "generic", "not-there-yet", "--from-literal=key=x"]);
  expect(await sessions.done("stuck", "patient")).toMatchObject({ state: "done" });
  expect(await sessions.said("stuck")).toEqual([textOf("patient")]);
  await up.kubectl(["delete", "secret", "not-there-yet"]);
});

test("made again under its name, a session loses nothing of the new one and runs nothing of the old", {
  timeout: 200_000,
}, async () => {
  await sessions.apply("phoenix", LATER);
  await sessions.send("phoenix", "old");
  const uid = await sessions.uid("phoenix");
  const client = await up.connect({ session: "phoenix" });
  await up.kubectl(["delete", "argussession", "phoenix", "--wait=false"]);
  const ended = await client.waitFor("its end", ({ method }) => method === "argus/input/ended");
  expect(ended.params?.["reason"]).toContain("the session was deleted");
  await client.close();
  await eventually("the old one is gone", async () => (await sessions.uid("phoenix")) === "");
  await sessions.apply("phoenix");
  await sessions.send("phoenix", "new");
  sessions.killed("gateway");
  expect(await sessions.done("phoenix", "new")).toMatchObject({ state: "done" });
  expect(await sessions.uid("phoenix")).not.toBe(uid);
  expect((await sessions.lists("phoenix")).ended.map(({ key }) => key)).toEqual(["new"]);
  expect(await sessions.said("phoenix")).toEqual([textOf("new")]);
});
