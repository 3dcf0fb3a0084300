import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { changedFolders, makeFolderDurably, writeDurably } from "#lib/durable-file.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-durable-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("a file is made with its folders, replaced as a whole, and only its owner's", async () => {
  const path = join(folder, "a", "b", "state.json");
  await writeDurably(path, "first, and longer");
  await writeDurably(path, "second");
  expect(await readFile(path, "utf8")).toBe("second");
  expect(await readdir(dirname(path))).toEqual(["state.json"]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(dirname(path))).mode & 0o777).toBe(0o700);
});

test("a folder is made with those above it, open to read, and may be there already", async () => {
  const path = join(folder, "c", "d");
  await makeFolderDurably(path);
  await makeFolderDurably(path);
  expect((await stat(path)).mode & 0o777).toBe(0o777 & ~process.umask());
});

test.each([
  ["nothing was made", undefined, ["/x/a/b"]],
  ["its folder was made", "/x/a/b", ["/x/a/b", "/x/a"]],
  ["two were made", "/x/a", ["/x/a/b", "/x/a", "/x"]],
  ["all of them", "/x", ["/x/a/b", "/x/a", "/x", "/"]],
])("%s: each folder with a new name in it is synced", (_, made, folders) => {
  expect(changedFolders("/x/a/b/file", made)).toEqual(folders);
});
