import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLogger } from "#lib/logger.ts";
import { installVersion, runInstall } from "#runtime/install.ts";
import { eventually } from "../../support/eventually.ts";
import { processesOf } from "../../support/processes.ts";

let home: string;
let workspace: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "argus-install-"));
  workspace = join(home, "workspace");
  await mkdir(workspace);
});
afterEach(() => rm(home, { recursive: true, force: true }));

const path = "/usr/local/bin:/usr/bin:/bin";

function install(script: string, more: { signal?: AbortSignal; deadlineMs?: number } = {}) {
  return runInstall({
    script,
    version: installVersion(script, "image@sha256:1"),
    home,
    workspace,
    env: { PATH: path, GIVEN: "yes", MARK: home },
    signal: new AbortController().signal,
    logger: silentLogger(),
    ...more,
  });
}

test("the version changes with the text and with the image", () => {
  const versions = [
    installVersion("a", "b"),
    installVersion("a", "c"),
    installVersion("b", "b"),
    installVersion("ab", ""),
  ];
  expect(new Set(versions).size).toBe(4);
  for (const version of versions) expect(version).toMatch(/^[0-9a-f]{16}$/);
});

test("runs once per version, in the workspace, with HOME and npm on the volume", async () => {
  const script = 'pwd >> ran; echo "$HOME|$npm_config_prefix|$PATH|$GIVEN" >> ran';
  expect(await install(script)).toEqual({ ok: true, ran: true });
  expect(await install(script)).toEqual({ ok: true, ran: false });
  const prefix = join(home, ".npm-global");
  expect(await readFile(join(workspace, "ran"), "utf8")).toBe(
    `${workspace}\n${home}|${prefix}|${prefix}/bin:${path}|yes\n`,
  );
  expect(await install(`${script} # changed`)).toEqual({ ok: true, ran: true });
});

test("a failure tells the last 20 lines and is tried again", async () => {
  const script = "for i in $(seq 1000); do echo line $i; done; echo bad >&2; test -e fixed";
  const failed = await install(script);
  expect(failed.ok).toBe(false);
  const lines = failed.ok ? [] : failed.tail.split("\n");
  expect(lines.length).toBe(20);
  expect(lines.at(-1)).toBe("the install ended with 1");
  expect(lines).toContain("line 1000");
  expect(lines).toContain("bad");
  await writeFile(join(workspace, "fixed"), "");
  expect(await install(script)).toEqual({ ok: true, ran: true });
});

test("a command that fails in the middle ends the script", async () => {
  expect(await install("false\ntouch went-on")).toMatchObject({ ok: false });
  await expect(readFile(join(workspace, "went-on"))).rejects.toThrow(/ENOENT/);
});

test("output without end stays bounded", async () => {
  const failed = await install("head -c 50000000 /dev/zero | tr '\\0' x; exit 3");
  expect(failed.ok ? "" : failed.tail).toMatch(/x\nthe install ended with 3$/);
  expect(failed.ok ? 0 : failed.tail.length).toBeLessThanOrEqual(4096);
});

test("an abort kills the whole process group and does not count as installed", async () => {
  const stop = new AbortController();
  const script = "sleep 300 & sleep 300";
  const running = install(script, { signal: stop.signal });
  await eventually("both sleeps", () => processesOf(home).length >= 3);
  stop.abort();
  expect(await running).toEqual({ ok: false, tail: "the install was stopped before its end" });
  await eventually("nothing is left", () => processesOf(home).length === 0);
  const aborted = new AbortController();
  aborted.abort();
  expect(await install(script, { signal: aborted.signal })).toMatchObject({ ok: false });
});

test("what takes too long is killed", async () => {
  const failed = await install("echo started; sleep 300", { deadlineMs: 300 });
  expect(failed).toEqual({
    ok: false,
    tail: "started\nthe install did not end in time and was killed",
  });
});

test("what the script leaves running is ended and holds nothing up", async () => {
  expect(await install("sleep 300 & echo done")).toEqual({ ok: true, ran: true });
  await eventually("nothing is left", () => processesOf(home).length === 0);
});
