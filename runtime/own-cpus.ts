import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { Logger } from "#lib/logger.ts";
import { Cgroup } from "./pressure/cgroup.ts";

/** Two sets without a common CPU, as `taskset -c` takes them: `0,2,3`. */
export interface CpuSplit {
  bridge: string;
  agent: string;
}

export interface CpuFacts {
  /** Numbers of the CPUs that the container may use. */
  allowed: readonly number[];
  /** How many of them at once, e.g. 0.5; undefined = no limit. */
  quota: number | undefined;
  /** Spreads the sessions of a node over its CPUs. */
  podUid: string;
}

/** In full: the PATH of the agent is its owner's. */
export const TASKSET = "/usr/bin/taskset";

/** Of the CPUs at most; more than one, so that neighbours that compute do not stand in a bridge's way. */
const BRIDGE_PART = 4;

/**
 * A CPU of the bridge's own, where the agent's limit leaves one: the kernel gives a limit out per CPU and stops whoever
 * asks a spent one, so hundreds of the agent's programs on all CPUs would keep the bridge from running at all, whatever
 * its priority (docs/decisions/014). The agent keeps as many CPUs as its limit can fill.
 */
export function splitCpus({ allowed, quota, podUid }: CpuFacts): CpuSplit | undefined {
  if (quota === undefined) return undefined;
  const spare = allowed.length - Math.ceil(quota);
  if (spare < 1) return undefined;
  const own = Math.min(spare, Math.max(1, Math.floor(allowed.length / BRIDGE_PART)));
  const seat = createHash("sha256").update(podUid).digest().readUInt32BE() % allowed.length;
  const turned = [...allowed.slice(seat), ...allowed.slice(0, seat)];
  return { bridge: turned.slice(0, own).join(), agent: turned.slice(own).join() };
}

/** `0-2,7` → 0, 1, 2, 7. */
export function parseCpuList(list: string): number[] {
  return list.split(",").flatMap((part) => {
    const [from = Number.NaN, to = from] = part.split("-").map((word) => Number.parseInt(word, 10));
    return Array.from({ length: Math.max(0, to - from + 1) || 0 }, (_, index) => from + index);
  });
}

/**
 * Moves this process to CPUs of its own and resolves to the agent's; undefined where the limit leaves none (also: no
 * limit, not Linux). Without `taskset` nothing changes, and the log says so. Comes after the install, which may use all.
 */
export async function takeOwnCpus(podUid: string, logger: Logger): Promise<string | undefined> {
  const status = await readFile("/proc/self/status", "latin1").catch(() => "");
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? "");
  const split = splitCpus({ allowed, quota: await new Cgroup().cpus(), podUid });
  if (!split) return undefined;
  try {
    await promisify(execFile)(TASKSET, ["-a", "-c", "-p", split.bridge, String(process.pid)]);
    return split.agent;
  } catch (error) {
    logger.warn({ err: error, ...split }, "bridge shares its CPUs with the agent: taskset failed");
    return undefined;
  }
}
