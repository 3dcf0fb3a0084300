import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { setInterval as every } from "node:timers/promises";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import { sleepOr } from "#lib/sleep-or.ts";
import {
  ExitAck,
  NODE_EXTENSIONS,
  NODE_REPLACED_CODE,
  NodeConnected,
  NodeEvent,
} from "#protocol/node.ts";
import { COMMAND_PARAMS } from "#protocol/node-commands.ts";
import { Approvals } from "./approvals.ts";
import { Calls } from "./calls.ts";
import { dial, type Link } from "./connection.ts";
import { Files } from "./files.ts";
import type { Job } from "./job.ts";
import { exitNotice, Jobs, type OpenJob } from "./jobs.ts";
import type { Policy } from "./policy.ts";
import { Streams } from "./streams.ts";

export interface NodeHostOptions {
  /** `ws://…/nodes/ws` or `wss://…`. */
  url: string;
  /** Read for each connection: it may be renewed. */
  token: () => Promise<string | undefined>;
  nodeId: string;
  displayName: string;
  version: string;
  stateFolder: string;
  /** Command line of a job's supervisor (`supervise` of supervisor.ts); the job's folder is added. */
  supervisor: string[];
  /** Marks that supervisors carry, for whoever ends everything of a kind. */
  marks?: Record<string, string>;
  /** What every program gets, besides what its call adds. */
  env: Record<string, string>;
  /** Working folder of calls that name none, and what file commands may touch when the policy names no roots. */
  home: string;
  policy: () => Promise<Policy>;
  logger: Logger;
  maxOutputBytes?: number;
  backoff?: { baseMs: number; maxMs: number };
  /** First pause after another device took this one's id; it doubles. */
  replacedPauseMs?: number;
}

export interface RunningNodeHost extends Running {
  /** Jobs that run, with their supervisors' process ids, or whose end the gateway does not know yet. */
  openJobs(): OpenJob[];
}

/** Of this process: what it was asked before is not forgotten over its connections. */
const BOOT = randomUUID();
let connections = 0;
const BACKOFF = { baseMs: 1000, maxMs: 30_000 };
const REPLACED_PAUSE_MS = 5 * 60_000;
const MAX_REPLACED_PAUSE_MS = 60 * 60_000;
const HEARTBEAT_MS = 15_000;
/** A connection that lived this long starts the back-off anew. */
const STEADY_MS = 30_000;
/** For the gateway's answer to `connect`. */
const CONNECTED_MS = 15_000;

/** Runs commands for the gateway for as long as `signal` lets it; jobs outlive it and its connections. */
export async function startNodeHost(
  options: NodeHostOptions,
  signal: AbortSignal,
): Promise<RunningNodeHost> {
  const host = new NodeHost(options, signal);
  await host.adopt();
  return { closed: host.run(), openJobs: () => host.openJobs() };
}

class NodeHost {
  readonly #options: NodeHostOptions;
  readonly #signal: AbortSignal;
  readonly #jobs: Jobs;
  readonly #calls: Calls;
  readonly #approvals = new Approvals();
  #tellEnd: ((job: Job) => void) | undefined;

  constructor(options: NodeHostOptions, signal: AbortSignal) {
    const { stateFolder, home: defaultCwd, logger, policy } = options;
    this.#options = options;
    this.#signal = signal;
    const jobs = { ...options, folder: join(stateFolder, "jobs"), defaultCwd };
    this.#jobs = new Jobs(jobs, signal, (job) => this.#tellEnd?.(job));
    const files = async () => new Files((await policy()).roots ?? [defaultCwd]);
    const tools = { jobs: this.#jobs, files, path: options.env.PATH ?? "" };
    this.#calls = new Calls({ tools, approvals: this.#approvals, policy, defaultCwd, logger });
  }

  adopt(): Promise<void> {
    return this.#jobs.adopt();
  }

  openJobs(): OpenJob[] {
    return this.#jobs.open();
  }

  /** Connects again and again, 1 s to 30 s apart; much rarer once another device has taken this one's id. */
  async run(): Promise<void> {
    const { logger, backoff = BACKOFF, replacedPauseMs = REPLACED_PAUSE_MS } = this.#options;
    for (let failures = 0, replaced = 0; !this.#signal.aborted; ) {
      const started = performance.now();
      const end = await this.#connectOnce();
      if (this.#signal.aborted) return;
      if (performance.now() - started > STEADY_MS) failures = 0;
      let pauseMs = backoffMs(failures++, { ...backoff, jitter: 0.5 });
      if (end.replaced) {
        pauseMs = backoffMs(replaced++, { baseMs: replacedPauseMs, maxMs: MAX_REPLACED_PAUSE_MS });
        logger.warn(
          { node: this.#options.nodeId, pauseMs },
          "another device connected under this node id; give one of them another --node-id",
        );
      } else
        logger.warn({ reason: end.reason, pauseMs }, "not connected to the gateway, trying again");
      await systemClock.sleep(pauseMs, this.#signal).catch(() => undefined);
    }
  }

  async #connectOnce(): Promise<{ reason: string; replaced: boolean }> {
    const over = new AbortController();
    const stop = AbortSignal.any([over.signal, this.#signal]);
    try {
      const connection = new Connection(this.#options, this.#jobs, this.#calls, this.#approvals);
      const { url, token } = this.#options;
      const onFrame = (frame: Record<string, unknown>) => connection.take(frame);
      const link = await dial({ url, token: await token(), onFrame }, stop);
      this.#tellEnd = (job) => void connection.tellEnd(job);
      connection.begin(link, stop);
      const { code, reason } = await link.closed;
      connection.close();
      const replaced = code === NODE_REPLACED_CODE && reason === "replaced";
      return { reason: `closed with ${code} ${reason}`, replaced };
    } catch (error) {
      return { reason: errorMessage(error), replaced: false };
    } finally {
      this.#tellEnd = undefined;
      this.#approvals.attach(undefined);
      over.abort();
    }
  }
}

/** One connection and what was negotiated on it. */
class Connection {
  readonly #options: NodeHostOptions;
  readonly #jobs: Jobs;
  readonly #calls: Calls;
  readonly #approvals: Approvals;
  readonly #streams: Streams;
  readonly #connected: Promise<void>;
  #greet: () => void = () => undefined;
  #greeted = false;
  #link: Link | undefined;
  #extensions = new Set<string>();

  constructor(options: NodeHostOptions, jobs: Jobs, calls: Calls, approvals: Approvals) {
    this.#options = options;
    this.#jobs = jobs;
    this.#calls = calls;
    this.#approvals = approvals;
    // Promise.withResolvers is not in Node 20.
    this.#connected = new Promise((resolve) => {
      this.#greet = resolve;
    });
    const binary = async (frame: Buffer) => this.#link?.binary(frame);
    this.#streams = new Streams(jobs, {
      event: (name, payload) => this.#event(name, payload),
      binary,
    });
  }

  begin(link: Link, signal: AbortSignal): void {
    this.#link = link;
    const { nodeId, displayName, version } = this.#options;
    link.send({
      type: "connect",
      nodeId,
      displayName,
      platform: process.platform,
      version,
      caps: ["system"],
      commands: Object.keys(COMMAND_PARAMS),
      extensions: NODE_EXTENSIONS,
      boot: BOOT,
      connection: connections++,
    });
    void this.#keep(link, signal);
  }

  close(): void {
    this.#streams.closeAll();
    this.#link = undefined;
  }

  async #keep(link: Link, signal: AbortSignal): Promise<void> {
    await sleepOr(CONNECTED_MS, Promise.race([this.#connected, link.closed]));
    if (!this.#greeted) return link.close();
    try {
      for await (const _ of every(HEARTBEAT_MS, undefined, { signal }))
        this.#event("node.heartbeat", { t: Date.now() });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  take(frame: Record<string, unknown>): void {
    const parsed = NodeEvent.safeParse(frame);
    if (!parsed.success) return;
    try {
      this.#act(parsed.data);
    } catch (error) {
      const { event } = parsed.data;
      this.#options.logger.warn(
        { event, reason: errorMessage(error) },
        "a frame of the gateway is not valid",
      );
    }
  }

  #act({ event, payload }: NodeEvent): void {
    if (event === "node.connected") this.#welcome(payload);
    else if (event === "node.invoke.request") void this.#invoke(payload);
    else if (event === "node.invoke.cancel") this.#calls.cancel(payload);
    else if (event === "node.stream.open") this.#streams.open(payload);
    else if (event === "node.stream.ack") this.#streams.ack(payload);
    else if (event === "node.stream.close") this.#streams.close(payload);
    else if (event === "node.process.exited.ack")
      void this.#jobs.told(ExitAck.parse(payload).jobId);
    else if (event === "node.approval.answer") this.#approvals.answer(payload);
  }

  #welcome(payload: unknown): void {
    this.#extensions = new Set(NodeConnected.parse(payload).extensions);
    this.#greeted = true;
    this.#greet();
    this.#options.logger.info({ node: this.#options.nodeId }, "connected to the gateway");
    if (this.#extensions.has("approval"))
      this.#approvals.attach((request) => this.#event("node.approval.request", request));
    for (const job of this.#jobs.untold()) void this.tellEnd(job);
  }

  async #invoke(payload: unknown): Promise<void> {
    const answer = await this.#calls.answer(payload);
    const seed = this.#extensions.size === 0;
    const payloadJSON =
      seed && answer.payload !== undefined ? JSON.stringify(answer.payload) : null;
    this.#event("node.invoke.result", { ...answer, nodeId: this.#options.nodeId, payloadJSON });
  }

  /** A gateway that acknowledges is told again until it did; to a seed gateway sent is told. */
  async tellEnd(job: Job): Promise<void> {
    if (!this.#greeted || !this.#jobs.isUntold(job)) return;
    this.#event("node.process.exited", await exitNotice(job));
    if (!this.#extensions.has("exit-ack")) await this.#jobs.told(job.meta.jobId);
  }

  #event(event: string, payload: unknown): void {
    this.#link?.send({ type: "event", event, payload });
  }
}
