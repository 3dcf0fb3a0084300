import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { CHUNK_BYTES, GetFileResult, MAX_FILE_IN_BYTES } from "#protocol/workspace-files.ts";
import { workspaceRequest } from "#runtime/workspace-files.ts";

let outside: string;
let workspace: string;

beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "argus-files-"));
  workspace = join(outside, "workspace");
  await mkdir(workspace);
});

const ask = async (method: string, params: object) =>
  await workspaceRequest({ workspace, digest: undefined }, `bridge/file/${method}`, params);
const put = (path: string, text: string, more: object = {}) =>
  ask("put", {
    path,
    offset: 0,
    data: Buffer.from(text).toString("base64"),
    last: true,
    ...more,
  });

test("a file has its name when its last piece is there, and repeats of pieces change nothing", async () => {
  const path = "inbox/in-1/photo.jpg";
  await put(path, "one ", { last: false });
  await put(path, "two", { offset: 4, last: false });
  expect(await ask("stat", { path })).toEqual({ file: null });
  expect(await readdir(join(workspace, "inbox/in-1"))).toEqual([".photo.jpg.part"]);
  await put(path, "two", { offset: 4, last: false });
  const done = await put(path, " three", { offset: 7 });
  expect(done).toEqual({ path: join(workspace, path), bytes: 13 });
  expect(await readFile(join(workspace, path), "utf8")).toBe("one two three");
  expect(await readdir(join(workspace, "inbox/in-1"))).toEqual(["photo.jpg"]);
  const { file } = (await ask("stat", { path })) as { file: { bytes: number } };
  expect(file.bytes).toBe(13);
});

test("a large file comes back in pieces that tell when it changed between them", async () => {
  const whole = Buffer.alloc(CHUNK_BYTES + 10, "x");
  await writeFile(join(workspace, "report.bin"), whole);
  const first = GetFileResult.parse(await ask("get", { path: "./report.bin", offset: 0 }));
  const rest = GetFileResult.parse(await ask("get", { path: "report.bin", offset: CHUNK_BYTES }));
  const pieces = [first, rest].map(({ data }) => Buffer.from(data, "base64"));
  expect(Buffer.concat(pieces).equals(whole)).toBe(true);
  expect(rest.version).toBe(first.version);
  await writeFile(join(workspace, "report.bin"), "other");
  const now = GetFileResult.parse(await ask("get", { path: "report.bin", offset: 0 }));
  expect(now.version).not.toBe(first.version);
});

test("an absolute path in the workspace is the same file", async () => {
  await put("a.txt", "text");
  const path = join(workspace, "a.txt");
  expect(await ask("get", { path, offset: 0 })).toMatchObject({ bytes: 4 });
});

test("nothing leads out of the workspace: dots, absolute paths, links in any place", async () => {
  await writeFile(join(outside, "secret"), "secret");
  await symlink(join(outside, "secret"), join(workspace, "link"));
  await symlink(outside, join(workspace, "folder"));
  const escapes = ["../secret", "a/../../secret", join(outside, "secret"), "link", "folder/secret"];
  for (const path of [...escapes, "folder/new/x", ".", "a/", "a\0b"]) {
    await expect(ask("get", { path, offset: 0 }), path).rejects.toThrow();
    if (path !== "link") await expect(put(path, "bad"), path).rejects.toThrow();
  }
  // A put replaces the link itself and never writes through it.
  await put("link", "own");
  expect(await readFile(join(outside, "secret"), "utf8")).toBe("secret");
  expect(await readdir(outside)).toEqual(["secret", "workspace"]);
});

test("a link in the place of the unfinished file is refused", async () => {
  await writeFile(join(outside, "secret"), "secret");
  await symlink(join(outside, "secret"), join(workspace, ".x.part"));
  await expect(put("x", "bad")).rejects.toThrow("link");
  expect(await readFile(join(outside, "secret"), "utf8")).toBe("secret");
});

test("folders, missing files and files beyond the bound are refused in words", async () => {
  await mkdir(join(workspace, "folder"));
  await expect(ask("get", { path: "folder", offset: 0 })).rejects.toThrow("not a regular file");
  await expect(ask("get", { path: "none", offset: 0 })).rejects.toThrow("no such file");
  const offset = MAX_FILE_IN_BYTES - 1;
  await expect(put("big", "xy", { offset })).rejects.toThrow("larger than a file may be");
  await expect(put("gap", "xy", { offset: 5 })).rejects.toThrow("begin anew");
});
