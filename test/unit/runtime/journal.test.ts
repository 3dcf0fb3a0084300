import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { silentLogger } from "#lib/logger.ts";
import { Journal, type Journaled } from "#runtime/journal.ts";

/** State that keeps nothing: every compaction empties the file. */
const nothing: Journaled = { expire: () => {}, snapshot: () => "", load: () => 0 };
const LARGE = `${"x".repeat(5 * 1024 * 1024)}\n`;

async function rig() {
  const folder = await mkdtemp(join(tmpdir(), "argus-journal-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "j.jsonl");
  const disk = { fails: false };
  const syncFolder = async () => {
    if (disk.fails) throw new Error("the folder cannot be synced");
  };
  const journal = await Journal.open({ path, state: nothing, logger: silentLogger(), syncFolder });
  return { journal, path, disk };
}

test("after a compaction whose folder was not synced, appends are found in the file of that name", async () => {
  const { journal, path, disk } = await rig();
  disk.fails = true;
  await journal.append(LARGE, false);
  await journal.append("after\n", false);
  expect(await readFile(path, "utf8")).toBe("after\n");
  await journal.close();
});

test("nothing counts as durable until the folder of a compacted file is synced", async () => {
  const { journal, path, disk } = await rig();
  disk.fails = true;
  await journal.append(LARGE, true);
  await expect(journal.append("refused\n", true)).rejects.toThrow("was not synced");
  disk.fails = false;
  await journal.append("durable\n", true);
  expect((await readFile(path, "utf8")).split("\n")).toContain("durable");
  await journal.close();
});
