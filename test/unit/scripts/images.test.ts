import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeFlags } from "#cli/node-flags.ts";
import { bundle } from "../../../scripts/bundle.ts";
import { contentHash } from "../../../scripts/images/context.ts";
import { launcherText } from "../../../scripts/images/launcher.ts";
import { baseOf } from "../../../scripts/images/recipe.ts";

const root = join(import.meta.dirname, "..", "..", "..");
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "argus-launcher-"));
  put("argus", launcherText());
  put("node", `#!/bin/sh\necho "node $* limit=$(ulimit -p)"\n`);
  put("tini", `#!/bin/sh\nshift\necho "under tini"\nexec "$@"\n`);
});
afterEach(() => rmSync(folder, { recursive: true }));

function put(name: string, text: string): void {
  writeFileSync(join(folder, name), text);
  chmodSync(join(folder, name), 0o755);
}

function launch(args: string[], env: Record<string, string> = {}, wrap: string[] = []) {
  const [program = "", ...words] = [...wrap, join(folder, "argus"), ...args];
  const found = spawnSync(program, words, {
    env: { PATH: `${folder}:/usr/sbin:/usr/bin:/sbin:/bin`, ...env },
    encoding: "utf8",
  });
  return { status: found.status, said: found.stdout.trim().split("\n") };
}

test.each(["up", "controller", "gateway", "bridge", "node-host", "--version"])(
  "the launcher runs %s with the flags that it runs with elsewhere",
  (command) => {
    const words = [...nodeFlags(command), "/usr/local/lib/argus/argus.js", command, "a b"];
    expect(launch([command, "a b"]).said[0]).toMatch(new RegExp(`^node ${words.join(" ")} limit=`));
  },
);

const FIRST = ["unshare", "--pid", "--fork", "--kill-child"];
const user = (uid: number) => ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
const root0 = process.platform === "linux" && process.getuid?.() === 0;
const canUnshare = root0 && spawnSync("unshare", ["--pid", "--fork", "true"]).status === 0;

test.skipIf(!canUnshare).each([
  ["as process 1 with a user id of its own: reaper and limit", 2_000_000, "80", /limit=96$/],
  ["with a user id that others may have too: reaper alone", 1000, "80", /limit=(?!96$)/],
  ["without a limit asked for: reaper alone", 2_000_000, "", /limit=(?!96$)/],
])("the bridge %s", (_, uid, pids, line) => {
  chmodSync(folder, 0o755);
  const { said } = launch(["bridge"], { ARGUS_PIDS: pids }, [...FIRST, ...user(uid)]);
  expect(said.length).toBe(2);
  expect(said[0]).toBe("under tini");
  expect(said[1]).toMatch(line);
});

test.skipIf(!canUnshare)("a limit that is no number ends the start", () => {
  chmodSync(folder, 0o755);
  const { status, said } = launch(["bridge"], { ARGUS_PIDS: "many" }, [
    ...FIRST,
    ...user(2_000_000),
  ]);
  expect(status).not.toBe(0);
  expect(said).toEqual([""]);
});

test("beside other processes the launcher sets no limit and starts no reaper", () => {
  expect(launch(["bridge"], { ARGUS_PIDS: "80" }).said.length).toBe(1);
});

test("the Dockerfile names the base and the packages of both images", async () => {
  expect(await baseOf("argus")).toMatchObject({ suite: "bookworm" });
  const { packages } = await baseOf("argus-runtime");
  for (const name of ["bash", "git", "curl", "procps", "tini", "ca-certificates"])
    expect(packages).toContain(name);
});

test("images of another version, base or source have another name", async () => {
  const one = await contentHash("1");
  expect(one).toMatch(/^[0-9a-f]{16}$/);
  expect(await contentHash("1")).toBe(one);
  expect(await contentHash("2")).not.toBe(one);
});

test("both images run as a user and neither holds a secret", () => {
  const lines = readFileSync(join(root, "Dockerfile"), "utf8").split("\n");
  const users = lines.filter((line) => line.startsWith("USER"));
  expect(users.at(-1)).toBe("USER 65532:65532");
  expect(users.filter((line) => line !== "USER 0:0").length).toBe(2);
  const ignored = readFileSync(join(root, ".dockerignore"), "utf8").split("\n");
  expect(ignored.filter((line) => line && !line.startsWith("#"))[0]).toBe("*");
});

test("the same tree packed under another version calls itself so", async () => {
  const packed = join(folder, "packed");
  await bundle(packed, "0.0.9");
  const { stdout } = spawnSync(process.execPath, [join(packed, "argus.js"), "--version"], {
    encoding: "utf8",
  });
  expect(stdout).toBe("0.0.9\n");
});
