import { fdatasyncSync, fsyncSync, openSync, writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

const FILE_BYTES = 8 * 1024 * 1024;
const file = openSync(workerData as string, "w");
writeSync(file, Buffer.alloc(FILE_BYTES));
fsyncSync(file);
let at = 0;
let waiting: Uint8Array[] = [];

function work(): void {
  const entries = waiting;
  waiting = [];
  const bytes = Buffer.concat(entries);
  if (at + bytes.length > FILE_BYTES) at = 0;
  writeSync(file, bytes, 0, bytes.length, at);
  at += bytes.length;
  fdatasyncSync(file);
  parentPort?.postMessage(entries.length);
}

parentPort?.on("message", (entries: Uint8Array[]) => {
  if (waiting.length === 0) setImmediate(work);
  waiting.push(...entries);
});
