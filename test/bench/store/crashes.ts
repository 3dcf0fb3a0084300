import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openFileStore } from "#gateway/store/file.ts";

const PROGRAM = join(import.meta.dirname, "acknowledge.ts");

export interface Crashes {
  acknowledged: number;
  lost: number;
  doubled: number;
}

/** Kills a process that commits, again and again on the same store, and compares what it acknowledged with what is there. */
export async function crashes(folder: string, trials: number): Promise<Crashes> {
  const state = await mkdtemp(join(folder, "crash-"));
  const total: Crashes = { acknowledged: 0, lost: 0, doubled: 0 };
  for (let trial = 0; trial < trials; trial += 1) {
    const acknowledged = await killed(state);
    const store = await openFileStore({ folder: state }, new AbortController().signal);
    for (const [document, highest] of acknowledged.highest) {
      const found = (await store.read(`doc-${document}`))?.body as {
        count: number;
        last: number[];
      };
      if (found.count < highest) total.lost += highest - found.count;
      // Numbers follow each other without a gap or a repeat.
      const isWhole = found.last.every(
        (number, at) => number === found.count - found.last.length + at + 1,
      );
      if (!isWhole) total.doubled += 1;
    }
    total.acknowledged += acknowledged.count;
    await store.close();
  }
  await rm(state, { recursive: true });
  return total;
}

async function killed(state: string) {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", PROGRAM, state], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  const ended = once(child, "close").then(() => {
    throw new Error("the process that commits ended by itself");
  });
  await Promise.race([once(child.stdout, "data"), ended]);
  await delay(20 + Math.random() * 400);
  child.kill("SIGKILL");
  await ended.catch(() => undefined);
  const highest = new Map<number, number>();
  const lines = text.split("\n").slice(0, -1);
  for (const line of lines) {
    const [document = 0, number = 0] = line.split(" ").map(Number);
    highest.set(document, Math.max(highest.get(document) ?? 0, number));
  }
  return { highest, count: lines.length };
}

/** Opens 100 MB of documents and reads them all, ms. */
export async function opening(folder: string, megabytes: number): Promise<number> {
  const state = await mkdtemp(join(folder, "large-"));
  const open = () => openFileStore({ folder: state }, new AbortController().signal);
  const first = await open();
  const body = { text: "x".repeat(1_000_000) };
  for (let index = 0; index < megabytes; index += 1) await first.commit(`doc-${index}`, 0, body);
  await first.close();
  const startedMs = performance.now();
  const store = await open();
  for (const { uid } of await store.list()) await store.read(uid);
  const ms = performance.now() - startedMs;
  await store.close();
  await rm(state, { recursive: true });
  return ms;
}
