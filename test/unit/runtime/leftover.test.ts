import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLogger } from "#lib/logger.ts";
import { endLeftover, forgetAppServer, rememberAppServer } from "#runtime/leftover.ts";

let home: string;
let child: ChildProcess;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "argus-leftover-"));
  child = spawn("sleep", ["60"], { detached: true, stdio: "ignore" });
  await once(child, "spawn");
});
afterEach(async () => {
  child.kill("SIGKILL");
  await rm(home, { recursive: true, force: true });
});

test("the app-server that a killed bridge left is ended", async () => {
  await rememberAppServer(home, child.pid ?? 0);
  const ended = once(child, "exit");
  await endLeftover(home, silentLogger());
  await ended;
  await endLeftover(home, silentLogger());
});

test("a process that merely got the same id is left alone, and so is one that was forgotten", async () => {
  await rememberAppServer(home, child.pid ?? 0);
  const path = join(home, ".argus", "app-server.json");
  const record = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...record, startTime: `${record.startTime}1` }));
  await endLeftover(home, silentLogger());
  await rememberAppServer(home, child.pid ?? 0);
  await forgetAppServer(home);
  await endLeftover(home, silentLogger());
  await writeFile(path, "{");
  await endLeftover(home, silentLogger());
  expect([child.exitCode, child.signalCode]).toEqual([null, null]);
});
