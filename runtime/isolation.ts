import { readFileSync } from "node:fs";
import type { BridgeStatus } from "#protocol/bridge.ts";

export type Isolation = BridgeStatus["pidIsolation"];

/** What the kernel says about where this process runs. */
export interface IsolationFacts {
  pid: number;
  parentPid: number;
  uid: number;
  /** Content of /proc/self/uid_map; "" = not known. */
  uidMap: string;
  /** Name and command line (words separated by NUL) of process 1; "" = not known. */
  firstName: string;
  firstCommand: string;
}

/** Programs made to be process 1: they take over orphans, so that no zombie eats the budget. */
const REAPER = /^(tini(-static)?|docker-init|catatonit|dumb-init)$/;
/** Lower ids belong to people, system services and images: another pod may have the same one. */
export const FIRST_UNIQUE_UID = 100_000;
/** Tasks that the container may have beyond the agent's limit: for reaper and bridge. */
export const CONTAINER_RESERVE = 16;

/** Facts of this process; to be read at its start, before its parent may die. */
export function isolationFacts(): IsolationFacts {
  return {
    pid: process.pid,
    parentPid: process.ppid,
    uid: process.getuid?.() ?? 0,
    uidMap: content("/proc/self/uid_map"),
    firstName: content("/proc/1/comm").trim(),
    firstCommand: content("/proc/1/cmdline"),
  };
}

/**
 * Whether this process has a container for itself: it is process 1, or the direct child of a reaper that is process 1 and
 * was told to run it. A container's reaper that started something else in between proves nothing.
 */
export function ownsContainer(facts: IsolationFacts): boolean {
  return facts.pid === 1 || underReaper(facts);
}

/**
 * What a limit or a kill by uid reaches: only this session's processes, because ids are mapped (`UserNamespace`) or the
 * uid is no one else's (`UniqueUid`), or possibly others (`Degraded`).
 */
export function proveIsolation(facts: IsolationFacts): Isolation {
  if (!underReaper(facts)) return "Degraded";
  if (facts.uidMap.trim() !== "" && !isIdentity(facts.uidMap)) return "UserNamespace";
  return facts.uid >= FIRST_UNIQUE_UID ? "UniqueUid" : "Degraded";
}

function underReaper({ parentPid, firstName, firstCommand }: IsolationFacts): boolean {
  return parentPid === 1 && REAPER.test(firstName) && firstCommand.split("\0").includes("bridge");
}

/** The first user namespace maps every id to itself, in one line. */
function isIdentity(uidMap: string): boolean {
  const [inside, outside, count] = uidMap.trim().split(/\s+/).map(Number);
  return inside === 0 && outside === 0 && count === 2 ** 32 - 1;
}

function content(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
