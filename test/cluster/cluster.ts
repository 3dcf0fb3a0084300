import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { errorMessage } from "#lib/errors.ts";
import { endProcessTree, type ProcessRecord, sameProcess } from "#lib/process-record.ts";
import { kubectl } from "#test/support/kubectl.ts";
import { processesOf } from "#test/support/processes.ts";
import { remainingCgroups, removeCgroups } from "./cgroups.ts";
import { lastWords } from "./daemon.ts";
import { withLock } from "./lock.ts";
import { whyNoNode } from "./needs.ts";
import { importImages, removeLink, startNode } from "./node.ts";

/** A Kubernetes with a node: the project's own, or the one that KUBECONFIG names. */
export interface Cluster {
  /** Path of an admin's. */
  kubeconfig: string;
  /** What only the project's own can. */
  own?: OwnCluster;
}

export interface OwnCluster {
  folder: string;
  /** JSON lines, see audit.ts. */
  auditLog: string;
  /** Makes the images of an OCI archive known to the node; pods name them with `imagePullPolicy: IfNotPresent`. */
  importImages(archive: string): Promise<void>;
  /** A host process with this id is the node's PID 1. */
  nodePid: number;
}

/** What is on record about the running one. */
interface State {
  processes: ProcessRecord[];
  nodePid: number;
  /** The test runs that use it; the last one ends it. Absent when it was started by hand. */
  users?: ProcessRecord[];
}

const execFileAsync = promisify(execFile);

/** One at a time on a machine: the addresses are its own. */
const FOLDER = join(tmpdir(), "argus-cluster");
const LOCK = join(tmpdir(), "argus-cluster.lock");
const STATE = join(FOLDER, "state.json");
const KUBECONFIG = join(FOLDER, "kubeconfig");
/** All of its processes have this variable, also those that a crash left without a record. */
const MARK = { name: "ARGUS_TEST_CLUSTER", value: FOLDER };

async function readState(): Promise<State | undefined> {
  return existsSync(STATE) ? (JSON.parse(await readFile(STATE, "utf8")) as State) : undefined;
}

const clusterOf = ({ nodePid }: State): Cluster => ({
  kubeconfig: KUBECONFIG,
  own: {
    folder: FOLDER,
    auditLog: join(FOLDER, "audit.log"),
    importImages: (archive) => importImages(nodePid, archive),
    nodePid,
  },
});

/** The running cluster, when all its processes run and its API server answers. */
export async function runningCluster(): Promise<Cluster | undefined> {
  const state = await readState();
  if (!state) return undefined;
  const alive = state.processes.map(({ pid, startTime }) => sameProcess(pid, startTime));
  if (!(await Promise.all(alive)).every(Boolean)) return undefined;
  const { code } = await kubectl(KUBECONFIG, ["get", "--raw", "/readyz"]);
  return code === 0 ? clusterOf(state) : undefined;
}

/**
 * The cluster for a test: the one that KUBECONFIG names, else the project's own, started when none runs. It stays for the
 * files that follow; the end of the test run stops it (see teardown.ts). Takes up to a minute.
 */
export async function useCluster(): Promise<Cluster> {
  if (process.env.KUBECONFIG) return { kubeconfig: process.env.KUBECONFIG };
  const run = process.env.ARGUS_TEST_RUN;
  return startCluster(run ? (JSON.parse(run) as ProcessRecord) : undefined);
}

/** Why `useCluster` cannot work here, with what to do about it; undefined when it can. */
export const whyNoCluster = (): string | undefined =>
  process.env.KUBECONFIG ? undefined : whyNoNode();

/** Starts the cluster, or answers the one that runs. Leftovers of a crash are removed first. */
export async function startCluster(run?: ProcessRecord): Promise<Cluster> {
  const reason = whyNoNode();
  if (reason) throw new Error(reason);
  return withLock(LOCK, async () => {
    const running = await runningCluster();
    if (running) {
      await joinUsers(run);
      return running;
    }
    await clean();
    try {
      return await start(run);
    } catch (cause) {
      const logs = lastWords(FOLDER);
      await clean();
      throw new Error(`the cluster did not start: ${errorMessage(cause)}\n${logs}`, { cause });
    }
  });
}

/** Another test run uses a running cluster, and may be the last to do so. */
async function joinUsers(run: ProcessRecord | undefined): Promise<void> {
  const state = await readState();
  if (run && state?.users) await writeState({ ...state, users: await others(state, run, [run]) });
}

/** The users that still run, without `run`. */
async function others(
  { users = [] }: State,
  run: ProcessRecord,
  more: ProcessRecord[] = [],
): Promise<ProcessRecord[]> {
  const rest = users.filter(({ pid }) => pid !== run.pid);
  const alive = await Promise.all(rest.map(({ pid, startTime }) => sameProcess(pid, startTime)));
  return [...rest.filter((_, index) => alive[index]), ...more];
}

/** A test run ends: the last one stops the cluster. Answers whether it did. */
export async function leaveCluster(run: ProcessRecord): Promise<boolean> {
  if (!existsSync(STATE)) return false;
  return withLock(LOCK, async () => {
    const state = await readState();
    if (!state?.users?.some(({ pid }) => pid === run.pid)) return false;
    const users = await others(state, run);
    if (users.length > 0) await writeState({ ...state, users });
    else await clean();
    return users.length === 0;
  });
}

/** Ends the cluster and removes everything that it made. */
export const stopCluster = (): Promise<void> => withLock(LOCK, clean);

async function start(run: ProcessRecord | undefined): Promise<Cluster> {
  const { processes, nodePid } = await startNode(FOLDER, MARK);
  const state: State = { processes, nodePid, ...(run && { users: [run] }) };
  await writeState(state);
  return clusterOf(state);
}

async function writeState(state: State): Promise<void> {
  await writeFile(`${STATE}.new`, JSON.stringify(state));
  await rename(`${STATE}.new`, STATE);
}

/** What of the cluster is still there; after a stop nothing must be. */
export async function leftovers(): Promise<string[]> {
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  const links = await readFile("/proc/net/dev", "utf8");
  const rules = (await execFileAsync("iptables-save")).stdout;
  return [
    ...processesOf(`${MARK.name}=${MARK.value}`).map(
      ({ pid, command }) => `process ${pid} ${command}`,
    ),
    ...mounts.split("\n").filter((line) => line.includes(FOLDER)),
    ...links.split("\n").filter((line) => /argus-host|cni-argus/.test(line)),
    ...rules.split("\n").filter((line) => /^:(KUBE|CNI)-/.test(line)),
    ...(await remainingCgroups()),
    ...(existsSync(FOLDER) ? [FOLDER] : []),
  ];
}

/** Mounts, packet rules and containers are in the node's own namespaces and go with its processes. */
async function clean(): Promise<void> {
  const roots = (await readState())?.processes ?? [];
  await endProcessTree({ roots, mark: MARK, graceMs: 0 });
  await removeLink();
  await removeCgroups();
  await rm(FOLDER, { recursive: true, force: true });
}
