import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { POD, POD_ENV, type RuntimeSpec } from "#protocol/pod.ts";
import { programPath } from "../cluster/binaries.ts";
import { makeVolume, removeVolume, TestBridge } from "./bridge.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { runProgram } from "./run-program.ts";

export interface ContainerOptions {
  rootfs: string;
  uid: number;
  /** As spec.limits.pids. */
  pids: number;
  memoryBytes?: number;
  /** How many it may use at once, e.g. 0.2. */
  cpus?: number;
  /** Of a user namespace: the host's id of the container's 0. */
  mappedTo?: number;
  runtime?: Partial<RuntimeSpec>;
}

/** Runs what the file `go` in the home holds, as the agent's child; the app-server is the built-in echo. */
const AGENT = `while :; do
  if [ -e "$HOME/go" ]; then mv "$HOME/go" "$HOME/went"; /bin/bash "$HOME/went" & fi
  sleep 0.1
done >/dev/null 2>&1 &
exec "$@"`;
const COMMAND = ["/bin/sh", "-c", AGENT, "sh", "argus", "echo"];

/** A session's container as a kubelet would start it, by runc: no rights, read-only root, on the host's network. */
export class Container {
  readonly bridge: TestBridge;
  readonly id: string;
  readonly #runc: ChildProcess;
  readonly #uid: number;

  private constructor(bridge: TestBridge, id: string, runc: ChildProcess, uid: number) {
    this.bridge = bridge;
    this.id = id;
    this.#runc = runc;
    this.#uid = uid;
  }

  static async start(options: ContainerOptions): Promise<Container> {
    const { uid, mappedTo = 0 } = options;
    const id = `argus-test-${randomUUID().slice(0, 8)}`;
    const volume = { ...(await makeVolume()), podUid: randomUUID() };
    await mkdir(join(volume.folder, "home"));
    await mkdir(join(volume.folder, "secrets"));
    await writeFile(join(volume.folder, "secrets", "token"), "the-pod-token\n");
    await writeFile(join(volume.folder, "termination-log"), "");
    const owner = `${mappedTo + uid}:${mappedTo + uid}`;
    await runProgram("chown", ["-R", owner, volume.folder]);
    const [port, probePort] = [await freePort(), await freePort()];
    const spec = containerSpec(options, { id, folder: volume.folder, port, probePort });
    const env = { ...spec.env, [POD_ENV.podUid]: volume.podUid };
    const config = {
      ...spec.config,
      process: {
        ...spec.config.process,
        env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      },
    };
    await writeFile(join(volume.folder, "config.json"), JSON.stringify(config));
    const log = process.env.ARGUS_TEST_LOG ? "inherit" : "ignore";
    const args = ["--root", join(volume.folder, "runc"), "run", "-b", volume.folder, id];
    const runc = spawn(programPath("runc"), args, { stdio: ["ignore", "ignore", log] });
    const closed = once(runc, "exit").then(() => undefined);
    const bridge = new TestBridge(volume, { port, probePort, closed }, new AbortController());
    return new Container(bridge, id, runc, uid + mappedTo);
  }

  /** Resolves when the bridge answers and its agent is hot. */
  async ready(): Promise<void> {
    await eventually(`${this.id} is hot`, async () => {
      if (this.#runc.exitCode !== null) throw new Error(`runc ended: ${this.#runc.exitCode}`);
      return (await this.bridge.status()).state === "hot";
    });
  }

  get folder(): string {
    return this.bridge.volume.folder;
  }

  /** Runs a bash script as a child of the agent. */
  async agentRuns(script: string): Promise<void> {
    const path = join(this.folder, "home", "going");
    await writeFile(path, script);
    await runProgram("chown", [`${this.#uid}`, path]);
    await runProgram("mv", [path, join(this.folder, "home", "go")]);
  }

  /** A file that the agent wrote into its home, once it is there. */
  agentWrote(name: string, timeoutMs?: number): Promise<string> {
    const path = join(this.folder, "home", name);
    return eventually(name, () => existsSync(path) && readFile(path, "utf8"), timeoutMs);
  }

  /** Runs a program in the container as an administrator's `kubectl exec` would. */
  async exec(...command: string[]): Promise<string> {
    const args = ["--root", join(this.folder, "runc"), "exec", this.id, ...command];
    const { code, stdout, stderr } = await runProgram(programPath("runc"), args);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Its process 1, seen from outside. */
  async reaper(): Promise<{ rests(): boolean; zombies(): number }> {
    const args = ["--root", join(this.folder, "runc"), "state", this.id];
    const { stdout } = await runProgram(programPath("runc"), args);
    const { pid } = JSON.parse(stdout) as { pid: number };
    const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, "latin1");
    return {
      rests: () => /\) S /.test(read("stat")),
      // An orphan that still waits for a processor to end on is none.
      zombies: () => read(`task/${pid}/children`).trim().split(" ").filter(isZombie).length,
    };
  }

  /** Of the container's pids group: what it counts now, or the most that it ever held. */
  async tasks(which: "current" | "peak" = "current"): Promise<number> {
    return Number(await readFile(join(cgroupOf(this.id), `pids.${which}`), "latin1"));
  }

  /** As a kubelet stops it: SIGTERM, and the cause of death is there. */
  async terminate(): Promise<void> {
    await this.#runcCommand("kill", this.id, "TERM");
    await this.bridge.running.closed;
  }

  /** SIGKILL to all of it. */
  async kill(): Promise<void> {
    await this.#runcCommand("delete", "--force", this.id);
    await this.bridge.running.closed;
  }

  async remove(): Promise<void> {
    await this.kill();
    await removeVolume(this.bridge.volume);
    await rm(cgroupOf(this.id), { recursive: true, force: true }).catch(() => undefined);
  }

  async #runcCommand(...args: string[]): Promise<void> {
    await runProgram(programPath("runc"), ["--root", join(this.folder, "runc"), ...args]);
  }
}

function cgroupOf(id: string): string {
  const v1 = join("/sys/fs/cgroup/pids", id);
  return existsSync("/sys/fs/cgroup/pids") ? v1 : join("/sys/fs/cgroup", id);
}

interface Place {
  id: string;
  folder: string;
  port: number;
  probePort: number;
}

function containerSpec(options: ContainerOptions, { id, folder, port, probePort }: Place) {
  const { uid, pids, memoryBytes = 0, cpus = 0, mappedTo, rootfs } = options;
  const runtime: RuntimeSpec = {
    command: COMMAND,
    protocol: "codex",
    image: "test",
    approvals: "never",
    workingDir: "",
    parkAfterSeconds: 0,
    pids,
    memoryBytes,
    ...options.runtime,
  };
  const env = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: POD.home,
    [POD_ENV.session]: "main",
    [POD_ENV.podIp]: "127.0.0.1",
    [POD_ENV.runtime]: JSON.stringify(runtime),
    [POD_ENV.gatewayUrl]: "http://127.0.0.1:9",
    [POD_ENV.pids]: String(pids),
    ARGUS_BRIDGE_PORT: String(port),
    ARGUS_PROBE_PORT: String(probePort),
  };
  const bind = (source: string, destination: string, ...more: string[]) => ({
    destination,
    type: "bind",
    source: join(folder, source),
    options: ["rbind", ...more],
  });
  const ids = [{ containerID: 0, hostID: mappedTo ?? 0, size: 65_536 }];
  const spaces = ["pid", "ipc", "uts", "mount", ...(mappedTo === undefined ? [] : ["user"])];
  const nobody = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };
  const config = {
    ociVersion: "1.2.0",
    process: {
      user: { uid, gid: uid },
      args: ["argus", "bridge"],
      cwd: "/",
      capabilities: nobody,
      noNewPrivileges: true,
    },
    root: { path: rootfs, readonly: true },
    hostname: id,
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      {
        destination: "/sys/fs/cgroup",
        type: "cgroup",
        source: "cgroup",
        options: ["ro", "nosuid"],
      },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=1777"] },
      bind("home", POD.home),
      bind("keys", POD.keysFolder, "ro"),
      bind("secrets", "/var/run/secrets/argus", "ro"),
      bind("termination-log", "/dev/termination-log"),
    ],
    linux: {
      cgroupsPath: `/${id}`,
      resources: {
        ...(memoryBytes > 0 && { memory: { limit: memoryBytes } }),
        ...(cpus > 0 && { cpu: { period: 100_000, quota: cpus * 100_000 } }),
      },
      namespaces: spaces.map((type) => ({ type })),
      ...(mappedTo === undefined ? {} : { uidMappings: ids, gidMappings: ids }),
    },
  };
  return { env, config };
}

function isZombie(pid: string): boolean {
  try {
    return pid !== "" && /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    // Reaped meanwhile.
    return false;
  }
}
