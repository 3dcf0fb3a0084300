import { execFile } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import type { ProcessMark, ProcessRecord } from "#lib/process-record.ts";
import { processTable } from "#lib/process-table.ts";
import { eventually } from "#test/support/eventually.ts";
import { kubectl } from "#test/support/kubectl.ts";
import { ALL_PROGRAMS, programPath } from "./binaries.ts";
import { makeCgroups } from "./cgroups.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { Daemon } from "./daemon.ts";
import { PAUSE_IMAGE, TOOLS_IMAGE, writeImage, writeToolsRoot } from "./images.ts";
import { ADDRESSES, FIRST_OBJECTS, NODE_NAME, writeNodeFiles } from "./node-files.ts";

const run = promisify(execFile);

const LINK = "argus-host";
const READY_MS = 120_000;
const IMPORT_MS = 300_000;
const SCRIPT = join(import.meta.dirname, "..", "..", "scripts", "cluster", "node.sh");
/** The node's own; what it mounts, links or filters is gone with its last process. */
const NAMESPACES = ["--pid", "--mount", "--net", "--ipc", "--mount-proc", "--fork", "--kill-child"];

export interface StartedNode {
  processes: ProcessRecord[];
  /** PID 1 of the node, as the host counts. */
  nodePid: number;
}

/** Starts control plane and node in this folder, and waits until pods can run. */
export async function startNode(folder: string, mark: ProcessMark): Promise<StartedNode> {
  // Open to pass through: with user namespaces a pod's root is nobody here.
  await mkdir(join(folder, "logs"), { recursive: true, mode: 0o711 });
  await mkdir(join(folder, "volumes"), { mode: 0o711 });
  await writeBaseImages(join(folder, "images"));
  await writeNodeFiles(folder);
  await makeCgroups();
  const node = nodeDaemon(folder, mark);
  await node.start();
  const nodePid = await eventually("the node's first process", () => childOf(node));
  await linkTo(nodePid);
  const plane = await startControlPlane({
    folder,
    address: ADDRESSES.HOST_ADDRESS,
    controllers: ["*"],
    scheduler: true,
    detached: mark,
  });
  await writeFile(join(folder, "control-plane-ready"), "");
  await firstObjects(plane);
  await ready(plane, node);
  const records = [node, ...plane.daemons].map(({ record }) => record);
  return { processes: records.filter((record) => record !== undefined), nodePid };
}

/** Two images of one file tree: what holds a pod together, and tools for tests. */
async function writeBaseImages(folder: string): Promise<void> {
  const root = join(folder, "root");
  await writeToolsRoot(root);
  const pause = { Entrypoint: ["/bin/busybox", "sleep", "2147483647"] };
  const tools = { Cmd: ["/bin/sh"], Env: ["PATH=/bin"] };
  const archive = (name: string) => join(folder, `${name}.tar`);
  await writeImage({ name: PAUSE_IMAGE, root, config: pause, archive: archive("pause") });
  await writeImage({ name: TOOLS_IMAGE, root, config: tools, archive: archive("tools") });
}

function nodeDaemon(folder: string, mark: ProcessMark): Daemon {
  const programs = [...new Set(ALL_PROGRAMS.map((name) => dirname(programPath(name))))];
  return new Daemon({
    name: "node",
    command: "unshare",
    args: [...NAMESPACES, "sh", SCRIPT, folder],
    log: join(folder, "logs", "node.log"),
    detached: mark,
    environment: {
      ...ADDRESSES,
      PATH: [...programs, process.env.PATH].join(delimiter),
      NODE: process.execPath,
      PROVISIONER: join(import.meta.dirname, "provisioner.ts"),
    },
  });
}

async function childOf({ record }: Daemon): Promise<number | undefined> {
  return (await processTable()).find(({ parent }) => parent === record?.pid)?.pid;
}

/** A pair of virtual links between this machine and the node, and the ways to pods and services through it. */
async function linkTo(nodePid: number): Promise<void> {
  const { HOST_ADDRESS, NODE_ADDRESS, POD_RANGE, SERVICE_RANGE } = ADDRESSES;
  const ip = (...args: string[]) => run("ip", args);
  await ip("link", "add", LINK, "type", "veth", "peer", "argus-node", "netns", String(nodePid));
  await ip("address", "add", `${HOST_ADDRESS}/30`, "dev", LINK);
  await ip("link", "set", LINK, "up");
  for (const range of [POD_RANGE, SERVICE_RANGE]) {
    await ip("route", "add", range, "via", NODE_ADDRESS);
  }
}

/** It goes with the node's namespace; here only when the node never got so far. */
export async function removeLink(): Promise<void> {
  if (process.platform !== "linux" || !(await readdir("/sys/class/net")).includes(LINK)) return;
  await run("ip", ["link", "delete", LINK]).catch(async (error) => {
    if ((await readdir("/sys/class/net")).includes(LINK)) throw error;
  });
}

async function firstObjects(plane: ControlPlane): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items: FIRST_OBJECTS };
  const input = JSON.stringify(list);
  const { code, stderr } = await kubectl(plane.kubeconfig(), ["apply", "-f", "-"], { input });
  if (code !== 0) throw new Error(`the cluster's first objects: ${stderr}`);
}

/** Pods can run: the node says so, and the account that they need is there. */
async function ready(plane: ControlPlane, node: Daemon): Promise<void> {
  const path = `jsonpath={.status.conditions[?(@.type=="Ready")].status}`;
  const asks = [
    ["get", "node", NODE_NAME, "-o", path],
    ["get", "serviceaccount", "default", "-o", "jsonpath=True"],
  ];
  for (const ask of asks) {
    await eventually(
      `kubectl ${ask.slice(0, 3).join(" ")}`,
      async () => {
        node.assertRunning();
        return (await kubectl(plane.kubeconfig(), ask)).stdout === "True";
      },
      READY_MS,
    );
  }
}

/** Loads an OCI archive into the node's containerd, whose socket only the node's own mounts have. */
export async function importImages(nodePid: number, archive: string): Promise<void> {
  const ctr = [programPath("ctr"), "-n", "k8s.io", "images", "import", archive];
  await run("nsenter", ["--target", String(nodePid), "--mount", ...ctr], { timeout: IMPORT_MS });
}
