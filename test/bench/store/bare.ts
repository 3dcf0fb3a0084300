import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Paced } from "./paced.ts";

/** What the disk allows: an entry appended and synced, over and over, by one who does nothing else. */
export function bareSyncs(folder: string, forMs: number, bytes: number): Paced {
  const path = join(folder, "bare");
  const file = openSync(path, "w");
  const entry = Buffer.alloc(bytes, 120);
  const times: number[] = [];
  const startedMs = performance.now();
  for (let nowMs = startedMs; nowMs - startedMs < forMs; ) {
    writeSync(file, entry);
    fdatasyncSync(file);
    const endMs = performance.now();
    times.push(endMs - nowMs);
    nowMs = endMs;
  }
  closeSync(file);
  rmSync(path);
  const seconds = (performance.now() - startedMs) / 1000;
  return { perSecond: times.length / seconds, times };
}
