import { mkdir, mkdtemp, open as openFile, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StoredState } from "#gateway/state/document.ts";
import { openFileStore } from "#gateway/store/file.ts";
import type { Store } from "#gateway/store/store.ts";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { SmallDisk } from "#test/support/small-disk.ts";
import { WsClient } from "#test/support/ws-client.ts";

const MIB = 2 ** 20;
const noDisk = SmallDisk.whyNot();
const onDisk = test.skipIf(noDisk);

const KIND = {
  what: "The list",
  schema: { safeParse: (value: unknown) => ({ success: true, data: value }) } as never,
  empty: [] as string[],
};
const open = (folder: string) => openFileStore({ folder }, new AbortController().signal);

let disk: SmallDisk | undefined;
let store: Store | undefined;
let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-faults-"));
});
afterEach(async () => {
  await store?.close();
  store = undefined;
  disk?.remove();
  disk = undefined;
  await rm(folder, { recursive: true });
});

onDisk(
  "a full disk refuses what it cannot take, loses nothing that was acknowledged, and goes on when there is space",
  async () => {
    disk = SmallDisk.make(4);
    const state = join(disk.folder, "state");
    store = await open(state);
    const list = await StoredState.open<string[]>(store, "list", KIND);
    const accepted: string[] = [];
    const push = async (text: string) => {
      await list.update((before) => [...before, text]);
      accepted.push(text);
    };
    const until = async () => {
      for (let index = 0; index < 100; index += 1) {
        const refusal = await push(`${index} ${"x".repeat(64 * 1024)}`).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (refusal) return refusal;
        // Grows the file beyond what a shrinking document frees.
        await store?.commit(`other-${index}`, 0, "y".repeat(100_000)).catch(() => undefined);
      }
      return undefined;
    };
    expect(await until()).toMatchObject({
      code: "Unavailable",
      message: "The disk of the state store is full: free some space.",
    });
    expect(accepted.length).toBeGreaterThan(3);
    expect(list.current).toEqual(accepted);
    disk.resize(64);
    await push("after");
    await store.close();
    store = await open(state);
    expect((await store.read("list"))?.body).toEqual(accepted);
  },
);

onDisk(
  "a gateway on a full disk refuses messages by name, starts again on it, and takes them when there is space",
  async () => {
    disk = SmallDisk.make(4);
    const rig = await GatewayRig.start({ stateFolder: join(disk.folder, "state") });
    try {
      rig.putSession("main");
      await writeFile(join(disk.folder, "filler"), Buffer.alloc(8 * MIB)).catch(() => undefined);
      const post = (key: string) =>
        fetch(`${rig.url}/automation/systemEvent/enqueue`, {
          method: "POST",
          headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
          body: JSON.stringify({ sessionId: "main", key, text: key.padEnd(15_000, "x") }),
        });
      const answers = [];
      for (let index = 0; index < 20; index += 1) answers.push(await post(`event-${index}`));
      const refused = answers.findIndex(({ status }) => status === 503);
      expect(await answers[refused]?.json()).toEqual({
        detail: "The disk of the state store is full: free some space.",
      });
      disk.resize(64);
      expect((await fetch(`${rig.url}/readyz`)).status).toBe(200);
      expect((await post(`event-${refused}`)).status).toBe(202);
    } finally {
      await rig.stop();
    }
  },
);

onDisk(
  "a disk that fills up while a turn runs holds its end back, says so, and loses and repeats nothing",
  async () => {
    disk = SmallDisk.make(4);
    const rig = await GatewayRig.start({ stateFolder: join(disk.folder, "state") });
    const lane = new LaneBridge();
    try {
      rig.putSession("main");
      await rig.putPod("main", lane.onPeer);
      const client = await WsClient.connect({
        url: rig.url,
        token: ADMIN,
        query: { session: "main" },
      });
      const { inputId } = await client.request("argus/input/enqueue", { text: "hello", key: "k" });
      await eventually("its turn", () => lane.started.length === 1);
      await writeFile(join(disk.folder, "filler"), Buffer.alloc(8 * MIB)).catch(() => undefined);
      // Whatever room the files of the store still have is used up too.
      let refused = "";
      for (let bytes = 15_000; bytes > 1; bytes = refused ? bytes / 2 : bytes) {
        const params = { text: "x".repeat(bytes), wakes: false };
        refused = (await client.ask("argus/event/enqueue", params)).error?.message ?? "";
      }
      expect(refused).toContain("disk of the state store is full");
      lane.end(String(inputId));
      let said = "";
      await eventually(
        "it is said",
        async () => {
          said = String((await client.request("argus/input/list"))["waitsFor"]);
          return said.includes("disk");
        },
        20_000,
      ).catch((error: unknown) => {
        throw new Error(`it says: ${said}`, { cause: error });
      });
      expect((await client.request("argus/input/list"))["ended"]).toEqual([]);
      disk.resize(64);
      await eventually(
        "its end",
        async () => {
          const { ended } = await client.request("argus/input/list");
          return (ended as { state: string }[])[0]?.state === "done";
        },
        20_000,
      );
      expect(lane.started.filter(({ text }) => text === "hello")).toHaveLength(1);
      await client.close();
    } finally {
      await rig.stop();
    }
  },
);

onDisk("a read-only disk ends the start with words", async () => {
  disk = SmallDisk.make(4);
  const state = join(disk.folder, "state");
  store = await open(state);
  await store.commit("a", 0, { n: 1 });
  await store.close();
  disk.readOnly();
  await expect(open(state)).rejects.toMatchObject({
    code: "Unavailable",
    message: expect.stringMatching(/^The state store failed: .+(writable\?|read-only\?) \(/),
  });
  await expect(open(join(disk.folder, "other"))).rejects.toThrow(/read-only/);
  disk.writable();
  store = await open(state);
  expect((await store.read("a"))?.body).toEqual({ n: 1 });
});

async function overwrite(path: string, at: number, bytes: Buffer): Promise<void> {
  const file = await openFile(path, "r+");
  await file.write(bytes, 0, bytes.length, at);
  await file.close();
}

async function filled(): Promise<{ path: string; bodies: Map<string, unknown> }> {
  const first = await open(folder);
  const bodies = new Map<string, unknown>();
  for (let index = 0; index < 40; index += 1) {
    const body = { name: `session ${index}`, text: `text of ${index} `.repeat(2000) };
    await first.commit(`u${index}`, 0, body);
    bodies.set(`u${index}`, body);
  }
  await first.close();
  return { path: join(folder, "state.db"), bodies };
}

test("a page of one document's text that is zeroed stops that document and no other", async () => {
  const { path, bodies } = await filled();
  const bytes = await readFile(path);
  const text = bytes.indexOf("text of 17 text of 17");
  await overwrite(path, text, Buffer.alloc(4096));
  store = await open(folder);
  for (const [uid, body] of bodies) {
    if (uid === "u17") {
      const reading = store.read(uid);
      await expect(reading).rejects.toMatchObject({ reason: "ChecksumMismatch", facts: { uid } });
    } else expect((await store.read(uid))?.body).toEqual(body);
  }
  expect(await store.list()).toHaveLength(40);
  expect(await store.overwrite("u17", bodies.get("u17"))).toBe(2);
  expect(await store.read("u17")).toEqual({ version: 2, body: bodies.get("u17") });
  expect(await store.commit("u18", 1, {})).toBe(2);
});

test("pages that contradict each other end the start with words, and nothing is written", async () => {
  const { path } = await filled();
  // The second page is the root of a table.
  for (let page = 1; page < 5; page += 1) await overwrite(path, page * 8192, Buffer.alloc(200, 7));
  const before = await readFile(path);
  await expect(open(folder)).rejects.toMatchObject({
    code: "Unavailable",
    message: expect.stringMatching(
      /state\.db is damaged and was left as it is\..*argus state import/,
    ),
  });
  expect(await readFile(path)).toEqual(before);
});

test("what is no database at all is not written over", async () => {
  await writeFile(join(folder, "state.db"), "a letter to my grandmother ".repeat(1000));
  await expect(open(folder)).rejects.toThrow(/is damaged and was left as it is/);
  expect(await readFile(join(folder, "state.db"), "utf8")).toContain("grandmother");
});

test("a path that is no folder is named", async () => {
  await writeFile(join(folder, "file"), "");
  await mkdir(join(folder, "db", "state.db"), { recursive: true });
  await expect(open(join(folder, "file"))).rejects.toThrow(/The state store failed/);
  await expect(open(join(folder, "db"))).rejects.toThrow(/does it belong to the gateway's user/);
});
