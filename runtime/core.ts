import { join } from "node:path";
import { monotonicMs } from "#lib/clock.ts";
import type { Logger } from "#lib/logger.ts";
import { BRIDGE_NOTIFICATION, type TurnDefaults } from "#protocol/bridge.ts";
import type { RuntimeSpec } from "#protocol/pod.ts";
import type { AppServerCommand } from "./app-server-command.ts";
import { Asks } from "./asks.ts";
import { StateOfBridge } from "./bridge-state.ts";
import { Broadcast } from "./broadcast.ts";
import { Busy } from "./busy.ts";
import { Caller } from "./caller.ts";
import { Choices } from "./choices.ts";
import { Flight } from "./flight.ts";
import { Handshake } from "./handshake.ts";
import { Inputs } from "./inputs.ts";
import { Journal, type Journaled } from "./journal.ts";
import { Ledger } from "./ledger.ts";
import { Liveness } from "./liveness.ts";
import { Mux } from "./mux.ts";
import { NewThreads } from "./new-threads.ts";
import { Observer } from "./observer.ts";
import { hasBackgroundTerminals } from "./parking.ts";
import type { Peer } from "./peer.ts";
import { Policy } from "./policy.ts";
import { Requests } from "./requests.ts";
import { Ring } from "./ring.ts";
import { settleThread } from "./settle.ts";
import { Supervisor } from "./supervisor.ts";
import { Threads } from "./threads.ts";
import { ToolServers } from "./tool-servers.ts";

/** Parking is tried again this long after a background command was found, at least. */
const MIN_PARK_RETRY_MS = 10_000;

export interface CoreOptions {
  boot: string;
  home: string;
  protocol: RuntimeSpec["protocol"];
  logger: Logger;
  defaults: () => TurnDefaults;
  prepare: () => Promise<AppServerCommand>;
  explainKill?: () => Promise<string | undefined>;
  /** Why no turn may start now; undefined = it may. */
  noNewTurns: () => { reason: string; message: string } | undefined;
  own: (method: string, params: unknown) => Promise<unknown> | undefined;
  onTurnEnd: () => void;
  /** Something runs in the pod beside the app-server. */
  hasJobs?: () => boolean;
  askDeadlineMs?: number;
  ringBytes?: number;
  livenessMs?: number;
}

/** Everything between the peers' lines and the app-server, put together. */
export class Core {
  readonly state: StateOfBridge;
  readonly broadcast: Broadcast;
  readonly busy = new Busy<Peer>();
  readonly supervisor: Supervisor;
  readonly mux: Mux;
  readonly asks: Asks;
  readonly liveness: Liveness;
  readonly #flight: Flight;
  readonly #caller: Caller;
  readonly #threads: Threads;
  readonly #toolServers = new ToolServers();
  readonly #journals: Journal[];
  readonly #hasJobs: () => boolean;
  #parkNotBefore = 0;

  /** Opens what is kept on the volume. Throws what the file system says. */
  static async open(options: CoreOptions, signal: AbortSignal): Promise<Core> {
    const { home, logger } = options;
    const ledger = new Ledger();
    const newThreads = new NewThreads();
    const choices = new Choices();
    const open = (name: string, state: Journaled) =>
      Journal.open({ path: join(home, ".argus", name), state, logger });
    const kept = {
      ledger,
      newThreads,
      choices,
      inputsJournal: await open("ledger.jsonl", ledger),
      threadsJournal: await open("threads.jsonl", newThreads),
      choicesJournal: await open("policies.jsonl", choices),
    };
    return new Core(options, kept, signal);
  }

  private constructor(options: CoreOptions, kept: Kept, signal: AbortSignal) {
    const { boot, logger, protocol, defaults } = options;
    this.#journals = [kept.inputsJournal, kept.threadsJournal, kept.choicesJournal];
    this.#hasJobs = options.hasJobs ?? (() => false);
    const broadcast = new Broadcast(boot, new Ring(options.ringBytes));
    this.broadcast = broadcast;
    this.state = new StateOfBridge((state, reason) =>
      broadcast.notify(BRIDGE_NOTIFICATION.state, { state, reason }),
    );
    const write = (...pieces: Buffer[]) =>
      this.supervisor.write(...this.#threads.toAppServer(...pieces));
    const tell = (peer: Peer, ...pieces: Buffer[]) => broadcast.tell(peer, ...pieces);
    this.#flight = new Flight((pieces) => write(...pieces));
    this.#caller = new Caller(this.#flight);
    const keep = (line: string) => kept.choicesJournal.append(line, true);
    const policy = new Policy(defaults, kept.choices, keep);
    const inputs = new Inputs({ ledger: kept.ledger, journal: kept.inputsJournal, tell, logger });
    this.#threads = this.#makeThreads(kept, { policy, inputs, logger });
    this.asks = this.#makeAsks(options, write);
    const handshake = new Handshake({ protocol, caller: this.#caller, write, tell });
    this.supervisor = this.#makeSupervisor(options, handshake);
    this.liveness = new Liveness(this.#caller, () => this.supervisor.kill(), options.livenessMs);
    const { busy, supervisor, asks } = this;
    const [flight, threads, toolServers] = [this.#flight, this.#threads, this.#toolServers];
    const shared = { busy, inputs, supervisor, asks, flight, threads, toolServers };
    const requests = new Requests({
      ...shared,
      policy,
      tell,
      noNewTurns: options.noNewTurns,
      why: () => this.state.why(),
      signal,
    });
    const observer = new Observer({ ...shared, onTurnEnd: options.onTurnEnd });
    const own: CoreOptions["own"] = (method, params) =>
      method === "bridge/activity"
        ? this.isUnused().then((isUnused) => ({ isUnused }))
        : options.own(method, params);
    this.mux = new Mux({ ...shared, broadcast, handshake, requests, observer, own, signal });
  }

  /** Nothing runs, waits or asks. */
  isIdle(now: number): boolean {
    return this.busy.count(now) === 0 && this.#flight.size === 0 && this.asks.size === 0;
  }

  /** Whether the pod could be stopped without anything being lost: also no command runs beyond its turn, and no job. */
  async isUnused(): Promise<boolean> {
    if (!this.isIdle(monotonicMs()) || this.#hasJobs()) return false;
    if (!this.supervisor.hot) return true;
    return !(await hasBackgroundTerminals(this.#caller, this.#threads.loaded));
  }

  /** Stops the app-server when nobody had to do with it for `afterMs` and nothing in it would be lost. */
  async parkIfIdle(now: number, afterMs: number): Promise<void> {
    const { mux, supervisor } = this;
    const { activeAt } = mux;
    const mayPark = supervisor.hot && this.isIdle(now) && !this.#threads.hasEphemeral;
    if (!mayPark || now - activeAt < afterMs || now < this.#parkNotBefore) return;
    this.#parkNotBefore = now + Math.max(afterMs, MIN_PARK_RETRY_MS);
    if (await hasBackgroundTerminals(this.#caller, this.#threads.loaded)) return;
    // Somebody came while we asked.
    if (mux.activeAt !== activeAt || !this.isIdle(monotonicMs())) return;
    await supervisor.park();
  }

  async close(): Promise<void> {
    for (const journal of this.#journals) await journal.close();
  }

  #makeThreads(
    { newThreads, threadsJournal, inputsJournal, ledger }: Kept,
    { policy, inputs, logger }: { policy: Policy; inputs: Inputs; logger: Logger },
  ): Threads {
    const caller = this.#caller;
    const isLive = (input: string) => inputs.isLive(input);
    const settling = { caller, ledger, journal: inputsJournal, isLive, logger };
    return new Threads({
      caller,
      newThreads,
      journal: threadsJournal,
      toolServers: this.#toolServers,
      policy: (threadId) => ({ ...policy.resume(threadId) }),
      settle: (threadId, history) => settleThread(settling, threadId, history),
      logger,
    });
  }

  #makeAsks({ askDeadlineMs }: CoreOptions, write: (line: Buffer) => void): Asks {
    return new Asks({
      // Numbers of this boot differ from those of any other: an old answer cannot meet a new question.
      firstId: Date.now() * 1000,
      ...(askDeadlineMs === undefined ? {} : { deadlineMs: askDeadlineMs }),
      write,
      tell: (peer, line) => this.broadcast.tell(peer, line),
      peers: () => this.broadcast.peers,
      ownerOf: (threadId) => this.busy.owner(threadId),
    });
  }

  #makeSupervisor(
    { boot, home, logger, prepare, explainKill }: CoreOptions,
    handshake: Handshake,
  ): Supervisor {
    return new Supervisor({
      home,
      logger,
      prepare: async () => {
        const prepared = await prepare();
        this.#toolServers.expect(prepared.toolServers ?? []);
        return prepared;
      },
      onLines: (lines) => this.mux.fromAppServer(lines),
      onOverflow: (count) => this.mux.overflow(count),
      handshake: (signal) => handshake.start(signal),
      ...(explainKill ? { explainKill } : {}),
      onEnd: (reason) => this.mux.ended(reason),
      onHot: (again) => {
        this.liveness.reset(monotonicMs());
        if (again === undefined) return;
        this.broadcast.notify(BRIDGE_NOTIFICATION.restarted, { boot, reason: again });
      },
      onState: (state, reason) => this.state.set(state, reason),
    });
  }
}

interface Kept {
  ledger: Ledger;
  newThreads: NewThreads;
  choices: Choices;
  inputsJournal: Journal;
  threadsJournal: Journal;
  choicesJournal: Journal;
}
