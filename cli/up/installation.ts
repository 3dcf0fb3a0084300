import { join } from "node:path";
import { createKubeClient } from "#cluster/client.ts";
import type { Clock } from "#lib/clock.ts";
import { createLogger, silentLogger } from "#lib/logger.ts";
import { type LocalCluster, startLocalCluster } from "#localcluster/local-cluster.ts";
import {
  controllerEnvironment,
  gatewayEnvironment,
  hasModel,
  sessionEnvironment,
  telegramEnvironment,
  type UpSettings,
  type Wiring,
} from "../config/up.ts";
import type { Environment } from "../config.ts";
import type { DataFolder } from "../data-folder.ts";
import { bwrapCheck } from "../doctor/programs.ts";
import { nodeFlags } from "../node-flags.ts";
import { type Ready, readyText } from "./banner.ts";
import { applyFoundation, echoSpec, ensureMain, type MainRuntime } from "./bootstrap.ts";
import { type ChildOptions, superviseChild, waitUntilReady } from "./child.ts";
import { adminToken, makeFolders, writeSecret } from "./folders.ts";
import { StartedProcesses } from "./leftovers.ts";
import { lockDataFolder } from "./lock.ts";
import { LogFile } from "./log-file.ts";
import { freePort } from "./ports.ts";
import { installBin, installedProgram } from "./program.ts";
import { Shutdown } from "./shutdown.ts";

export interface Installation {
  settings: UpSettings;
  environment: Environment;
  folder: DataFolder;
  dataFlag: string;
  /** How the person calls this program. */
  program: string;
  port: number;
  apiPort: number;
  /** Sessions get users of their own. */
  ownUsers: boolean;
  clock: Clock;
  say: (line: string) => void;
}

const READY_MS = 60_000;

/** Runs everything on this machine until the signal; resolves when all of it has ended. */
export async function runInstallation(it: Installation, signal: AbortSignal): Promise<void> {
  await makeFolders(it.folder, it.ownUsers);
  const lock = await lockDataFolder(it.folder, new Date(it.clock.now()));
  const shutdown = new Shutdown(signal);
  try {
    const ready = await startAll(it, shutdown);
    await lock.announce(ready.url);
    it.say(readyText(ready));
    await Promise.race([aborted(signal), shutdown.firstDeath()]);
  } catch (error) {
    // Stopped while it was still starting: that is what was asked for.
    if (!signal.aborted) throw error;
  } finally {
    await shutdown.stop(it.say);
    lock.release();
  }
}

async function startAll(it: Installation, shutdown: Shutdown): Promise<Ready> {
  const started = new StartedProcesses(it.folder.children);
  const left = await started.endLeftovers();
  if (left > 0) it.say(`ended ${left} processes that an earlier run left behind`);
  const ports = await choosePorts(it);
  const program = await installBin(it.folder, installedProgram(), it.ownUsers);
  it.say(`starting with the data in ${it.folder.root}`);
  const cluster = await shutdown.start("API server and sessions", (stop) => startCluster(it, stop));
  const runtime = hasModel(it.settings) && program.codex ? "codex" : "echo";
  const wiring = await wire(it, { cluster, ports, runtime });
  const main = await prepareObjects(it, runtime);
  const run = { it, wiring, started, shutdown };
  const { environment, settings } = it;
  // Neither needs the other to start.
  await Promise.all([
    startProcess(run, "controller", controllerEnvironment(environment, settings, wiring)),
    startProcess(run, "gateway", gatewayEnvironment(environment, settings, wiring)),
  ]);
  const url = `http://127.0.0.1:${wiring.gatewayPort}`;
  const telegram = telegramEnvironment(environment, settings, wiring);
  if (telegram) await supervise(run, "telegram", telegram);
  await writeSecret(it.folder.client, JSON.stringify({ url, token: wiring.token }));
  return {
    url,
    token: wiring.token,
    kubeconfig: it.folder.adminKubeconfig,
    data: it.folder.root,
    logs: it.folder.logs,
    program: it.program,
    dataFlag: it.dataFlag,
    main,
    hasModel: hasModel(it.settings),
    codexInstalled: program.codex !== undefined,
    telegram: telegram !== undefined,
    warnings: [...cluster.warnings, ...(await sandboxWarnings())],
  };
}

async function sandboxWarnings(): Promise<string[]> {
  const bwrap = await bwrapCheck(process.platform);
  return bwrap.state === "ok" ? [] : [`bubblewrap ${bwrap.found}.`];
}

interface Ports {
  gateway: number;
  controller: number;
}

async function choosePorts(it: Installation): Promise<Ports> {
  if (it.apiPort !== 0) await freePort(it.apiPort, "--api-port");
  return { gateway: await freePort(it.port, "--port"), controller: await freePort(0, "--port") };
}

async function startCluster(it: Installation, signal: AbortSignal): Promise<LocalCluster> {
  const log = new LogFile(join(it.folder.logs, "cluster.log"));
  const cluster = await startLocalCluster(
    {
      folder: it.folder.cluster,
      port: it.apiPort,
      binFolder: it.folder.bin,
      environment: sessionEnvironment(it.environment),
      logger: createLogger("cluster", it.settings.ARGUS_LOG_LEVEL, log),
    },
    signal,
  );
  return {
    host: cluster.host,
    port: cluster.port,
    warnings: cluster.warnings,
    kubeconfig: (user) => cluster.kubeconfig(user),
    closed: cluster.closed.finally(() => log.close()),
  };
}

interface Cabling {
  cluster: LocalCluster;
  ports: Ports;
  runtime: "codex" | "echo";
}

/** Writes the credentials and decides who listens where. */
async function wire(it: Installation, { cluster, ports, runtime }: Cabling): Promise<Wiring> {
  const { folder } = it;
  await writeSecret(folder.adminKubeconfig, cluster.kubeconfig("admin"));
  await writeSecret(folder.controllerKubeconfig, cluster.kubeconfig("controller"));
  await writeSecret(folder.gatewayKubeconfig, cluster.kubeconfig("gateway"));
  const token = await adminToken(folder, it.settings.ARGUS_TOKEN);
  await writeSecret(folder.gatewayToken, `${token}\n`);
  return {
    token,
    gatewayTokenFile: folder.gatewayToken,
    gatewayPort: ports.gateway,
    controllerPort: ports.controller,
    stateFolder: folder.state,
    controllerKubeconfig: folder.controllerKubeconfig,
    gatewayKubeconfig: folder.gatewayKubeconfig,
    sessionTemplate: JSON.stringify(runtime === "echo" ? echoSpec : {}),
  };
}

async function prepareObjects(it: Installation, runtime: "codex" | "echo"): Promise<MainRuntime> {
  const kube = await createKubeClient({
    kubeconfig: it.folder.adminKubeconfig,
    logger: silentLogger(),
  });
  try {
    await applyFoundation(kube);
    const main = await ensureMain(kube, runtime);
    return main.runtime;
  } finally {
    await kube.close();
  }
}

interface Run {
  it: Installation;
  wiring: Wiring;
  started: StartedProcesses;
  shutdown: Shutdown;
}

/** Starts `argus <name>` and waits until it is ready. */
async function startProcess(
  run: Run,
  name: "controller" | "gateway",
  environment: Environment,
): Promise<void> {
  const { options, child } = await supervise(run, name, environment);
  const port = name === "gateway" ? run.wiring.gatewayPort : run.wiring.controllerPort;
  const url = `http://127.0.0.1:${port}/readyz`;
  const signal = run.shutdown.stopping;
  await waitUntilReady(options, child, { url, timeoutMs: READY_MS, signal });
}

/** Keeps `argus <name>` running. */
async function supervise(
  { it, started, shutdown }: Run,
  name: "controller" | "gateway" | "telegram",
  environment: Environment,
) {
  const options: ChildOptions = {
    name,
    command: process.execPath,
    args: [...nodeFlags(name), join(installedProgram().root, "cli", "argus.mjs"), name],
    environment,
    log: new LogFile(join(it.folder.logs, `${name}.log`)),
    started,
    clock: it.clock,
    say: it.say,
  };
  const child = await shutdown.start(name, (stop) => superviseChild(options, stop));
  return { options, child };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
