import { STARTING_METHODS } from "./busy.ts";

/** These find the thread in history by themselves. */
export const UNLOADED_OK = new Set([
  "thread/resume",
  "thread/read",
  "thread/fork",
  "thread/archive",
  "thread/unarchive",
  "thread/delete",
  "thread/name/set",
  "thread/turns/list",
  "thread/items/list",
]);
/** Requests that may name their input: the ledger knows it. */
export const LEDGERED = new Set(["turn/start", "turn/steer", "thread/queue/add"]);
/** Requests or answers that the bridge must look into. */
export const SPECIAL = new Set([
  ...STARTING_METHODS,
  "thread/start",
  "thread/resume",
  "thread/fork",
  "turn/steer",
]);
