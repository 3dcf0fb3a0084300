import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openGatewayState } from "#gateway/state/gateway-state.ts";
import { openFileStore } from "#gateway/store/file.ts";
import type { Store } from "#gateway/store/store.ts";
import { storeContract } from "./store.ts";

storeContract({
  name: "file",
  histories: 15,
  start: async () => ({
    place: async () => {
      const place = await mkdtemp(join(tmpdir(), "argus-store-"));
      return {
        open: () => openFileStore({ folder: place }, new AbortController().signal),
        clear: () => rm(place, { recursive: true }),
      };
    },
    close: async () => undefined,
  }),
});

let folder: string;
const open: Store[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-store-"));
});
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  await rm(folder, { recursive: true });
});

async function start(): Promise<Store> {
  const store = await openFileStore({ folder }, new AbortController().signal);
  open.push(store);
  return store;
}
const stop = async (store: Store) => {
  open.splice(open.indexOf(store), 1);
  await store.close();
};

test("a document that fails its checksum is neither read nor replaced", async () => {
  const store = await start();
  await store.commit("gateway", 0, { marker: "original" });
  await stop(store);
  const path = join(folder, "state.db");
  const bytes = await readFile(path);
  const at = bytes.indexOf("original");
  expect(at).toBeGreaterThan(0);
  bytes.write("tampered", at);
  await writeFile(path, bytes);
  const again = await start();
  await expect(again.read("gateway")).rejects.toMatchObject({ code: "Internal" });
  await expect(again.commit("gateway", 0, {})).rejects.toMatchObject({ code: "Internal" });
  await expect(again.commit("gateway", 1, {})).rejects.toMatchObject({ code: "Internal" });
  await expect(openGatewayState(again)).rejects.toMatchObject({ code: "Internal" });
  expect(await again.list()).toEqual([{ uid: "gateway", version: 1 }]);
});

const HOLDER = `
import { openFileStore } from "#gateway/store/file.ts";
const store = await openFileStore({ folder: process.argv[1] }, new AbortController().signal);
await store.commit("held", 0, { by: process.pid });
process.stdout.write("open");
`;

test("a store that another process holds is waited for, with the holder named; kill -9 frees it", async () => {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", HOLDER, folder], {
    cwd: join(import.meta.dirname, "../.."),
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  const held = Promise.withResolvers<string>();
  const opening = openFileStore({ folder, onHeld: held.resolve }, new AbortController().signal);
  expect(await held.promise).toContain(`process ${child.pid} on `);
  child.kill("SIGKILL");
  const store = await opening;
  open.push(store);
  expect((await store.read("held"))?.body).toEqual({ by: child.pid });
});

test("waiting for a held store can be given up", async () => {
  const store = await start();
  const controller = new AbortController();
  const opening = openFileStore(
    { folder, onHeld: () => controller.abort(new Error("enough")) },
    controller.signal,
  );
  await expect(opening).rejects.toThrow("enough");
  expect(await store.list()).toEqual([]);
});
