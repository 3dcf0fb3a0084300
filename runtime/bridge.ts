import { randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Running } from "#lib/running.ts";
import type { HelloResult, TurnDefaults } from "#protocol/bridge.ts";
import { type AppServerCommand, prepareAppServer } from "./app-server-command.ts";
import { nativeCodex } from "./codex-binary.ts";
import { Core } from "./core.ts";
import { EpochFence } from "./epoch.ts";
import { type InstallStatus, installUntilDone } from "./install-loop.ts";
import { killAgent } from "./kill-agent.ts";
import { endLeftover } from "./leftover.ts";
import { limitCommand } from "./limit-command.ts";
import { Listener } from "./listener.ts";
import { type Loopback, startLoopback } from "./loopback.ts";
import { withNpmPrefix } from "./npm-prefix.ts";
import { type BridgeOptions, pick } from "./options.ts";
import { takeOwnCpus } from "./own-cpus.ts";
import { OwnNode } from "./own-node.ts";
import { createPressure, type Pressure } from "./pressure.ts";
import { startProbe } from "./probe.ts";
import { ResourceWatch } from "./resource-watch.ts";
import { causeOfDeath, type Facts, readiness, refuseTurns, statusOf } from "./status.ts";
import { leaveFailure, writeTermination } from "./termination.ts";
import { chooseTurnDefaults } from "./turn-defaults.ts";
import { heartbeatDigest, seedWorkspace } from "./workspace.ts";
import { workspaceOf } from "./workspace-methods.ts";

/** For a running turn after SIGTERM; a pod's grace period is 5 s longer. */
const GRACE_MS = 25_000;
const SWEEP_MS = 1000;

export interface RunningBridge extends Running {
  /** Of the peers. */
  port: number;
  probePort: number;
}

/**
 * Keeps the session's app-server alive and shares it. Both ports are open when this resolves; what must happen before the
 * app-server runs (install, config) goes on behind them and is told as a state. Abort = draining: new turns are refused,
 * a running one may end within 25 s, then everything stops in order. Throws when a port or the volume is not usable.
 */
export async function startBridge(
  options: BridgeOptions,
  signal: AbortSignal,
): Promise<RunningBridge> {
  try {
    return await new Bridge(options).start(signal);
  } catch (error) {
    leaveFailure(options.terminationLog, error);
    throw error;
  }
}

class Bridge {
  readonly #options: BridgeOptions;
  readonly #boot = randomBytes(9).toString("base64url");
  /** Stops the ports; they outlive the turn that ends after SIGTERM. */
  readonly #end = new AbortController();
  readonly #pressure: Pressure;
  readonly #watch: ResourceWatch;
  readonly #node = new OwnNode();
  #failure: string | undefined;
  #warning: string | undefined;
  #defaults: TurnDefaults;
  #install: InstallStatus = { state: "none" };
  #digest: string | undefined;
  /** Of the agent, where the bridge has others for itself. */
  #cpus: string | undefined;
  #echo = false;
  #skewMs: number | undefined;
  #loopback: Loopback | undefined;
  #draining = false;

  constructor(options: BridgeOptions) {
    this.#options = options;
    const { home, runtime, podUid, workspace, logger, tuning = {} } = options;
    const { pids, memoryBytes, approvals } = runtime;
    this.#pressure = options.pressure ?? createPressure({ home, pids, memoryBytes, podUid });
    this.#watch = new ResourceWatch({ pressure: this.#pressure, podUid, logger, tuning });
    this.#defaults = { cwd: workspace, approvalPolicy: approvals, sandbox: "read-only" };
    this.#echo = runtime.command.includes("echo");
  }

  async start(signal: AbortSignal): Promise<RunningBridge> {
    const { home, workspace, logger, keysFolder, podUid, host } = this.#options;
    await mkdir(home, { recursive: true });
    await mkdir(workspace, { recursive: true });
    const fence = await EpochFence.open(home, logger);
    const core = await this.#openCore();
    this.#defaults = await this.#chooseDefaults();
    const listener = await Listener.start(
      {
        host,
        port: this.#options.bridgePort,
        podUid,
        keysFolder,
        fence,
        logger,
        ...pick(this.#options.tuning, "helloDeadlineMs", "maxUnsentBytes"),
        welcome: () => this.#welcome(core),
        seq: () => core.broadcast.seq,
        attach: (peer, params) => core.mux.attach(peer, params),
        detach: (peer) => core.mux.detach(peer),
        onLine: (peer, line) => core.mux.fromPeer(peer, line),
        onSkew: (skewMs) => {
          this.#skewMs = skewMs;
        },
      },
      this.#end.signal,
    );
    const probe = await startProbe(
      {
        host,
        port: this.#options.probePort,
        status: () => statusOf(core, this.#facts(listener)),
        ready: () => readiness(core),
      },
      this.#end.signal,
    );
    const closed = this.#run(core, listener, signal)
      .then(() => probe.closed)
      .catch((error: unknown) => {
        leaveFailure(this.#options.terminationLog, error);
        throw error;
      });
    return { port: listener.port, probePort: probe.port, closed };
  }

  #openCore(): Promise<Core> {
    const { home, runtime, logger } = this.#options;
    const files = workspaceOf(this.#options, { limited: this.#limited, signal: this.#end.signal });
    return Core.open(
      {
        boot: this.#boot,
        home,
        protocol: runtime.protocol,
        logger,
        defaults: () => this.#defaults,
        prepare: () => this.#prepare(),
        explainKill: () => this.#watch.explainKill(),
        noNewTurns: () => refuseTurns(this.#draining, this.#watch.sample),
        own: (method, params) => files(method, params, this.#digest),
        onTurnEnd: () => this.#readDigest(),
        hasJobs: () => this.#node.openJobs().length > 0,
        ...pick(this.#options.tuning, "askDeadlineMs", "ringBytes", "livenessMs"),
      },
      this.#end.signal,
    );
  }

  /** From start to end; resolves when everything has stopped. */
  async #run(core: Core, listener: Listener, signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const sweep = this.#sweep(core);
    const blame = (cause: string) => core.supervisor.blame(cause);
    const watched = this.#watch.run(blame, this.#end.signal);
    const booting = this.#bootUp(core, signal).catch((error: unknown) => {
      logger.error({ err: error }, "bridge could not start the app-server");
      this.#failure = errorMessage(error);
      core.state.set("failed", this.#failure);
    });
    if (!signal.aborted) {
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    const last = { state: core.state.state, reason: core.state.reason };
    await this.#drain(core);
    await core.supervisor.stop();
    await booting;
    clearInterval(sweep);
    listener.stop();
    this.#end.abort();
    await listener.closed;
    await watched;
    await this.#loopback?.closed;
    await this.#node.closed;
    await core.close();
    writeTermination(this.#options.terminationLog, causeOfDeath(last, this.#facts(listener)));
    logger.info("bridge stopped");
  }

  /** What comes before the app-server, then the app-server itself. */
  async #bootUp(core: Core, signal: AbortSignal): Promise<void> {
    const { home, workspace, gatewayUrl, tokenFile, logger } = this.#options;
    core.state.set("starting", "the session is being prepared");
    await endLeftover(home, logger);
    await seedWorkspace(workspace);
    this.#readDigest();
    const set: Parameters<typeof installUntilDone>[1] = (install, state, reason) => {
      this.#install = install;
      core.state.set(state, reason);
    };
    await installUntilDone(this.#options, set, signal);
    if (signal.aborted) return;
    this.#cpus = await takeOwnCpus(this.#options.podUid, logger);
    this.#defaults = await this.#chooseDefaults();
    this.#loopback = await startLoopback({ gatewayUrl, tokenFile, logger }, this.#end.signal);
    const rules = { limited: this.#limited, sandbox: () => this.#defaults.sandbox };
    await this.#node.start(this.#options, rules, this.#end.signal);
    await core.supervisor.run(this.#end.signal);
  }

  /** Waits for the running turns, not longer than the grace period. */
  async #drain(core: Core): Promise<void> {
    this.#options.logger.info("bridge drains");
    this.#draining = true;
    core.state.set("draining", "the pod is being stopped");
    const { graceMs = GRACE_MS } = this.#options.tuning ?? {};
    const deadline = monotonicMs() + graceMs;
    while (core.supervisor.hot && core.busy.count(monotonicMs()) > 0 && monotonicMs() < deadline) {
      await delay(50);
    }
  }

  #sweep(core: Core): NodeJS.Timeout {
    const { runtime, logger } = this.#options;
    const afterMs = runtime.parkAfterSeconds * 1000;
    const warn = (error: unknown) => logger.warn({ err: error }, "app-server was not parked");
    return setInterval(() => {
      const now = monotonicMs();
      core.mux.sweep(now);
      const mayPark = afterMs > 0 && core.state.state === "hot";
      if (mayPark) core.parkIfIdle(now, afterMs).catch(warn);
    }, SWEEP_MS);
  }

  async #prepare(): Promise<AppServerCommand> {
    const { podUid } = this.#options;
    const { isolation } = this.#pressure;
    // What the last app-server left would count against the next one; only where it is surely the session's.
    const spare = this.#node.openJobs();
    if (isolation !== "Degraded") await killAgent({ isolation, podUid, spare });
    const { port = 0, secret = "" } = this.#loopback ?? {};
    const given = { loopback: { port, secret }, sandbox: this.#defaults.sandbox };
    const prepared = await prepareAppServer({ ...this.#options, ...given });
    this.#echo = prepared.echo;
    return { ...prepared, command: this.#limited(prepared.command) };
  }

  readonly #limited = (command: string[]): string[] => {
    const enforce = this.#pressure.isolation !== "Degraded";
    return limitCommand(command, { pids: this.#options.runtime.pids, enforce, cpus: this.#cpus });
  };

  async #chooseDefaults(): Promise<TurnDefaults> {
    const { runtime, workspace, home, agentEnv, logger } = this.#options;
    const { PATH: path = "" } = withNpmPrefix(agentEnv, home);
    const codex = await nativeCodex(runtime.command[0] ?? "", path).catch(() => undefined);
    const { warning, ...defaults } = await chooseTurnDefaults({
      approvals: runtime.approvals,
      workspace: runtime.workingDir || workspace,
      isolated: this.#pressure.container,
      path,
      ...(codex === undefined ? {} : { codex }),
    });
    if (warning) logger.warn({ warning }, "sandbox does not work");
    // The echo runs no command.
    this.#warning = this.#echo ? undefined : warning;
    return defaults;
  }

  async #welcome(core: Core): Promise<Omit<HelloResult, "seq">> {
    const podToken = (await readFile(this.#options.tokenFile, "utf8")).trim();
    return {
      boot: this.#boot,
      state: core.state.state,
      podToken,
      defaults: this.#defaults,
      echo: this.#echo,
      ...(this.#digest === undefined ? {} : { heartbeatDigest: this.#digest }),
      ...(this.#warning === undefined ? {} : { warning: this.#warning }),
    };
  }

  #facts(listener: Listener): Facts {
    return {
      boot: this.#boot,
      install: this.#install,
      sample: this.#watch.sample,
      killed: this.#watch.killed,
      failure: this.#failure,
      warning: this.#warning,
      isolation: this.#pressure.isolation,
      peers: listener.peers,
      skewMs: this.#skewMs,
    };
  }

  #readDigest(): void {
    const read = heartbeatDigest(this.#options.workspace).catch(() => undefined);
    void read.then((digest) => {
      this.#digest = digest;
    });
  }
}
