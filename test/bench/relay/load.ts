import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { LOAD_CORE } from "./process.ts";

/** `key=value` settings of the load process (native/main.c). */
export type Settings = Record<string, string | number>;

/** Something that the load can be pointed at. */
export interface Candidate {
  name: string;
  /** Processes whose CPU and memory count. */
  pids: number[];
  /** Settings for this run; asked anew each time, since tokens expire. */
  settings(): Promise<Settings>;
  stop(): Promise<void>;
}

/** What one run of the load printed; a field that the mode does not have is undefined. */
export interface Measurement {
  lines: number;
  wallNs: number;
  relayCpuNs: number;
  loadCpuNs: number;
  foreignNs: number;
  p50Ns: number;
  p99Ns: number;
  samples: number;
  [field: string]: number;
}

export interface IdleLevel extends Measurement {
  sessions: number;
  rssKiB: number;
  pssKiB: number;
}

const run = promisify(execFile);
const RUN_TIMEOUT_MS = 180_000;

/** One run of the load against a candidate. Throws when the load saw something wrong. */
export async function runLoad(
  load: string,
  candidate: Candidate,
  settings: Settings,
): Promise<Measurement & { levels?: IdleLevel[] }> {
  const all = { ...(await candidate.settings()), pids: candidate.pids.join(","), ...settings };
  const words = Object.entries(all).map(([key, value]) => `${key}=${value}`);
  const command = ["-c", String(LOAD_CORE), load, ...words];
  const { stdout } = await run("taskset", command, { timeout: RUN_TIMEOUT_MS }).catch(
    (error: Error & { stderr?: string }) => {
      throw new Error(`load against ${candidate.name}: ${error.stderr || error.message}`);
    },
  );
  return lowerKeys(JSON.parse(stdout)) as Measurement & { levels?: IdleLevel[] };
}

/** The load names fields by prefix and part (`WallNs`, `aloneP99Ns`); ours begin with a small letter. */
function lowerKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(lowerKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [
    key.charAt(0).toLowerCase() + key.slice(1),
    lowerKeys(inner),
  ]);
  return Object.fromEntries(entries) as unknown;
}
