import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isErrno } from "#lib/errors.ts";
import { MAX_TRANSCRIPT } from "#protocol/workspace-files.ts";
import { Transcriber, type TranscriberOptions } from "#runtime/transcribe.ts";
import { eventually } from "../../support/eventually.ts";

let workspace: string;
let stop: AbortController;
beforeEach(async () => {
  workspace = await mkdtemp(join(tmpdir(), "argus-voice-"));
  stop = new AbortController();
  await mkdir(join(workspace, "inbox"));
  await writeFile(join(workspace, "inbox", "a b.ogg"), "Turn On The Lights");
});
afterEach(async () => {
  stop.abort();
  await rm(workspace, { recursive: true });
});

const transcriber = (script: string | undefined, more: Partial<TranscriberOptions> = {}) =>
  new Transcriber({
    script,
    workspace,
    home: workspace,
    env: { PATH: process.env.PATH ?? "" },
    limited: (command) => command,
    signal: stop.signal,
    ...more,
  });
const ask = (script: string | undefined, more: Partial<TranscriberOptions> = {}) =>
  transcriber(script, more).transcribe({ path: "inbox/a b.ogg" });

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if (isErrno(error, "ESRCH")) return false;
    throw error;
  }
}

test("what the command prints is the text, in the workspace and with the file as its first argument", async () => {
  const script = 'tr A-Z a-z < "$1" | sed s/lights/lamps/; basename "$(pwd)"';
  const text = `turn on the lamps${workspace.split("/").at(-1)}`;
  expect(await ask(script)).toEqual({ state: "done", text, cut: false });
  expect(await ask(undefined)).toEqual({ state: "none" });
});

test("a command that fails, says nothing or does not exist is told with its own words", async () => {
  const reasons: [script: string, reason: string | RegExp][] = [
    [
      "echo loading; echo the model is missing >&2; exit 3",
      /^the model is missing\nthe command ended with 3$/,
    ],
    ["exit 0", "the command heard nothing"],
    ["no-such-program-here", /not found\nthe command ended with 127$/],
    ["kill -9 $$", "the command was ended by SIGKILL"],
  ];
  for (const [script, reason] of reasons) {
    const answer = await ask(script);
    expect(answer).toEqual({ state: "failed", reason: expect.stringMatching(reason) });
  }
});

test("it has a deadline, ends with the bridge, and leaves no process", async () => {
  const pidFile = join(workspace, "pid");
  const script = `sleep 300 & echo $! > '${pidFile}'; wait`;
  const late = await ask(script, { deadlineMs: 400 });
  expect(late).toEqual({
    state: "failed",
    reason: "the command did not end in time and was killed",
  });
  const pid = Number(await readFile(pidFile, "utf8"));
  await eventually("nothing is left", () => !isAlive(pid));
  const running = ask("sleep 300");
  stop.abort();
  expect(await running).toMatchObject({ reason: "the command was stopped before its end" });
});

test("more text than a message may have is cut, and no output fills the memory", async () => {
  const answer = await ask("yes ü | head -c 30000000");
  expect(answer).toMatchObject({ state: "done", cut: true });
  expect("text" in answer && answer.text.length).toBe(MAX_TRANSCRIPT);
});

test("what is no file of the workspace is refused, and a third at once is not begun", async () => {
  await symlink("/etc/hostname", join(workspace, "link"));
  const all = transcriber('cat "$1"; sleep 0.5');
  for (const path of ["link", "../x", "/etc/hostname", "inbox", "gone.ogg"]) {
    await expect(all.transcribe({ path })).rejects.toThrow();
  }
  const three = ["inbox/a b.ogg", "inbox/a b.ogg", "inbox/a b.ogg"];
  const answers = await Promise.all(three.map((path) => all.transcribe({ path })));
  expect(answers.map(({ state }) => state).sort()).toEqual(["done", "done", "failed"]);
});
