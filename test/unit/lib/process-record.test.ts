import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { endProcessTree, recordProcess, sameProcess } from "#lib/process-record.ts";
import { parsePsLine, parseStat, processTable } from "#lib/process-table.ts";

const started: ChildProcess[] = [];

/** Living ones of these; a zombie that init has not collected yet does not live. */
const living = async (pids: number[]) =>
  (await processTable()).filter(({ pid }) => pids.includes(pid)).map(({ pid }) => pid);

/** A shell in a group of its own; resolves with the words of its first line. */
async function shell(script: string, env: Record<string, string> = {}) {
  const child = spawn("/bin/sh", ["-c", script], {
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: "/usr/bin:/bin", ...env },
  });
  started.push(child);
  const [bytes] = (await once(child.stdout, "data")) as [Buffer];
  return { child, pid: child.pid ?? 0, words: bytes.toString().trim().split(/\s+/) };
}

const alive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

afterEach(() => {
  for (const child of started.splice(0)) {
    if (child.pid && alive(child.pid)) process.kill(-child.pid, "SIGKILL");
  }
});

test("a record matches its process alone", async () => {
  const { pid, child } = await shell("echo up; exec sleep 60");
  const record = await recordProcess(pid);
  expect(await sameProcess(pid, record.startTime)).toBe(true);
  expect(await sameProcess(pid, `${record.startTime}0`)).toBe(false);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(await sameProcess(pid, record.startTime)).toBe(false);
  await expect(recordProcess(2 ** 22 + 1)).rejects.toMatchObject({ code: "NotFound" });
});

test("a tree ends with its grandchildren, also with those in a session of their own", async () => {
  const { pid, words } = await shell(
    "setsid sh -c 'sleep 60 & echo $$ $! ; wait' & wait", // away from the group
  );
  const grandchildren = words.map(Number);
  expect(await endProcessTree({ roots: [await recordProcess(pid)], graceMs: 2000 })).toBe(3);
  expect(await living(grandchildren)).toEqual([]);
});

test("what ignores SIGTERM is killed after the grace", async () => {
  const { pid } = await shell("trap '' TERM; echo up; while :; do sleep 0.05; done");
  await endProcessTree({ roots: [await recordProcess(pid)], graceMs: 100 });
  expect(alive(pid)).toBe(false);
});

test("what the dead leader left in its group is found by the group, a wanderer by its mark", async () => {
  const { child, pid, words } = await shell("sleep 60 & echo $! ; exec sleep 60");
  const mark = { name: "ARGUS_TEST_MARK", value: `${process.pid}-a` };
  const wanderer = await shell("echo up; exec sleep 60", { [mark.name]: mark.value });
  const record = await recordProcess(pid);
  child.kill("SIGKILL");
  await once(child, "exit");
  const ended = once(wanderer.child, "exit");
  expect(await living(words.map(Number))).toHaveLength(1);
  await endProcessTree({ roots: [record], mark, graceMs: 0 });
  expect(await living(words.map(Number))).toEqual([]);
  await ended;
});

test("a reused id and another mark are left alone", async () => {
  const env = { ARGUS_TEST_MARK: `${process.pid}-abc` };
  const { pid } = await shell("echo up; exec sleep 60", env);
  const stale = { pid, startTime: "another-boot:1" };
  const mark = { name: "ARGUS_TEST_MARK", value: `${process.pid}-ab` };
  expect(await endProcessTree({ roots: [stale], mark, graceMs: 0 })).toBe(0);
  expect(alive(pid)).toBe(true);
});

test("a command name with parentheses and spaces does not shift the fields", () => {
  const rest = Array.from({ length: 15 }, (_, index) => index).join(" ");
  expect(parseStat(`7 (a) b (c) S 1 2 3 ${rest} 4242 0`, "boot")).toEqual({
    pid: 7,
    parent: 1,
    group: 2,
    session: 3,
    startTime: "boot:4242",
  });
  expect(parseStat(`7 (x) Z 1 2 3 ${rest} 4242`, "boot")).toBeUndefined();
});

test("a line of ps is read, a zombie is not", () => {
  expect(parsePsLine("  12   1   9 S    Mon Nov 24 10:00:00 2025")).toEqual([
    { pid: 12, parent: 1, group: 9, session: 9, startTime: "Mon Nov 24 10:00:00 2025" },
  ]);
  expect(parsePsLine("  12   1   9 Z    Mon Nov 24 10:00:00 2025")).toEqual([]);
  expect(parsePsLine("")).toEqual([]);
});
