import type { ArgusSession } from "#crds/kinds.ts";
import { Lane } from "#gateway/lanes/lane.ts";
import { type Link, Refused, type Turn } from "#gateway/lanes/lane-peer.ts";
import { TurnRecords } from "#gateway/lanes/turn-record.ts";
import { openSessionState } from "#gateway/state/session-state.ts";
import { ArgusError } from "#lib/errors.ts";
import { silentLogger } from "#lib/logger.ts";
import { MemoryStore } from "#test/fakes/memory-store.ts";
import { SimAdapter, SimChannel, SimEndpoint } from "./lane-sim-channel.ts";
import { ManualClock } from "./manual-clock.ts";

const UID = "u1";
const LIMIT = 512 * 1024;
const TURN_MS = 2000;
const HOUR_MS = 3_600_000;

/** What happens at one effect: a process dies before or after it, whoever does it, the lane's connection is cut, or the clock is set. */
export const FATES = [
  "gatewayBefore",
  "gatewayAfter",
  "adapterBefore",
  "adapterAfter",
  "agentAfter",
  "linkAfter",
  "clockForward",
  "clockBack",
] as const;
export type Fate = (typeof FATES)[number];

interface Kept {
  turn: string;
  status: string;
  ran: boolean;
  text: string;
}

/** The bridge and its app-server: a ledger that outlives everything, one turn at a time, tools where the words ask for one. */
export class SimBridge {
  readonly ledger = new Map<string, Kept>();
  /** Prompts of the turns that ran, in order. */
  readonly ran: { input: string; text: string; tool: boolean }[] = [];
  readonly links = new Set<SimLink>();
  heartbeat = "- [ ] water the plants";
  #threads = 0;
  #turns = 0;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  answer(method: string, params: Record<string, unknown>): unknown {
    if (method === "bridge/context")
      return { files: { "HEARTBEAT.md": { text: this.heartbeat, truncated: false } } };
    if (method === "thread/start") return { thread: { id: `t${++this.#threads}` } };
    if (method === "thread/read") return { thread: { status: { type: "idle" } } };
    if (method === "thread/turns/list") return { data: [...this.ledger.values()].map(historyOf) };
    if (method === "turn/start") return { turn: this.#start(params) };
    return {};
  }

  /** The app-server ends with its turn; the bridge starts another one. */
  agentDies(): void {
    for (const entry of this.ledger.values()) {
      if (entry.status === "inProgress") entry.status = "interrupted";
    }
    for (const link of this.links) link.cut();
  }

  #start(params: Record<string, unknown>): Turn {
    const input = String(params["clientUserMessageId"]);
    const known = this.ledger.get(input);
    if (known) return { id: known.turn, status: known.status, argusRan: known.ran };
    if ([...this.ledger.values()].some(({ status }) => status === "inProgress"))
      throw new Refused({ code: -32001, message: "busy", reason: "busy" });
    const [{ text } = { text: "" }] = params["input"] as { text: string }[];
    const entry = { turn: `turn-${++this.#turns}`, status: "inProgress", ran: false, text };
    this.ledger.set(input, entry);
    this.ran.push({ input, text, tool: text.includes("use a tool") });
    void this.#run(entry);
    return { id: entry.turn, status: entry.status };
  }

  async #run(entry: Kept): Promise<void> {
    await this.#clock.sleep(TURN_MS / 2);
    if (entry.status !== "inProgress") return;
    if (entry.text.includes("use a tool")) {
      entry.ran = true;
      this.#tell("item/started", entry, { id: "c", type: "commandExecution", command: "make" });
    }
    await this.#clock.sleep(TURN_MS / 2);
    if (entry.status !== "inProgress") return;
    entry.status = "completed";
    this.#tell("item/completed", entry, {
      id: "m",
      type: "agentMessage",
      text: `did ${entry.turn}`,
    });
    for (const link of this.links) link.ended(turnOf(entry));
  }

  #tell(method: string, { turn }: Kept, item: object): void {
    for (const link of this.links) link.records.see(method, { threadId: "t1", turnId: turn, item });
  }
}

function turnOf({ turn, status }: Kept): Turn {
  return { id: turn, status };
}

function historyOf(entry: Kept): Turn {
  const tool = entry.ran ? [{ id: "c", type: "commandExecution", command: "make" }] : [];
  const items = [...tool, { id: "m", type: "agentMessage", text: `did ${entry.turn}` }];
  return { ...turnOf(entry), items };
}

/** A lane's connection to the bridge of the simulation. */
class SimLink implements Link {
  isGone = false;
  readonly records: TurnRecords;
  readonly #sim: LaneSim;
  readonly #alive: () => boolean;
  readonly #waiting = new Map<string, PromiseWithResolvers<Turn>>();
  readonly #over = new Map<string, Turn>();
  readonly #onTurnEnd: () => void;

  constructor(sim: LaneSim, alive: () => boolean, onTurnEnd: () => void) {
    this.#sim = sim;
    this.#alive = alive;
    this.#onTurnEnd = onTurnEnd;
    this.records = new TurnRecords(() => sim.clock.monotonicMs());
    sim.bridge.links.add(this);
  }

  async request(method: string, params: unknown): Promise<unknown> {
    const known = { ...(params as Record<string, unknown>) };
    return await this.#sim.effect("gateway", this.#alive, async () => {
      if (this.isGone) throw lost();
      return this.#sim.bridge.answer(method, known);
    });
  }

  turnEnd(turnId: string): Promise<Turn> {
    const over = this.#over.get(turnId);
    if (over) return Promise.resolve(over);
    if (this.isGone) return Promise.reject(lost());
    const waiting = Promise.withResolvers<Turn>();
    waiting.promise.catch(() => undefined);
    this.#waiting.set(turnId, waiting);
    return waiting.promise;
  }

  record(turnId: string, threadId: string) {
    return this.records.watch(turnId, threadId);
  }

  ended(turn: Turn): void {
    this.#over.set(turn.id, turn);
    this.#waiting.get(turn.id)?.resolve(turn);
    this.#onTurnEnd();
  }

  cut(): void {
    this.isGone = true;
    this.#sim.bridge.links.delete(this);
    for (const { reject } of this.#waiting.values()) reject(lost());
  }

  answer(): void {}

  withdraw(): void {}

  close(): void {
    this.cut();
  }
}

function lost(): ArgusError {
  return new ArgusError("Unavailable", "The connection to the session's bridge ended.");
}

/** A gateway and a channel's adapter; one of them dies at a chosen effect and is made anew over the same store, bridge and channel. */
export class LaneSim {
  readonly clock = new ManualClock();
  readonly bridge = new SimBridge(this.clock);
  readonly channel = new SimChannel();
  readonly endpoint = new SimEndpoint(this);
  readonly #store = new MemoryStore();
  readonly #crashes: readonly { at: number; fate: Fate }[];
  effects = 0;
  /** Why the session's pod does not run; empty = it does. */
  podWords = "";
  lane!: Lane;
  #stop = new AbortController();
  #adapter: SimAdapter | undefined;

  constructor(crashes: readonly { at: number; fate: Fate }[] = []) {
    this.#crashes = crashes;
  }

  get document() {
    return this.lane.state.current;
  }

  /** Aborts when the gateway's present process dies. */
  get gateway(): AbortSignal {
    return this.#stop.signal;
  }

  async start(): Promise<void> {
    await this.#startGateway();
    this.#adapter = new SimAdapter(this);
  }

  async #startGateway(): Promise<void> {
    const stop = new AbortController();
    const alive = () => !stop.signal.aborted;
    const store = Object.assign(Object.create(this.#store) as MemoryStore, {
      commit: (...args: Parameters<MemoryStore["commit"]>) =>
        this.effect("gateway", alive, () => this.#store.commit(...args)),
    });
    const state = await openSessionState(store, UID, "main");
    this.#stop = stop;
    this.lane = new Lane({
      world: {
        clock: this.clock,
        logger: silentLogger(),
        session: () => SESSION,
        hold: () => Promise.resolve(),
        heldBy: () => undefined,
        isUp: () => true,
        files: { fetch: () => Promise.reject(new Error("no channel has files here")) },
        watch: () => () => undefined,
        reach: async ({ onTurnEnd }) =>
          this.podWords ? { waitsFor: this.podWords } : new SimLink(this, alive, onTurnEnd),
      },
      name: "main",
      uid: UID,
      state,
      limit: LIMIT,
      onEnded: () => undefined,
      onProgress: () => undefined,
      hasClients: () => false,
    });
    void this.lane.run(stop.signal);
  }

  /** One effect of a process on the world. A dead process's call never returns. */
  async effect<T>(
    doer: "gateway" | "adapter",
    alive: () => boolean,
    act: () => Promise<T>,
  ): Promise<T> {
    if (!alive()) return await never<T>();
    const index = this.effects++;
    const fate = this.#crashes.find(({ at }) => at === index)?.fate;
    if (fate === "gatewayBefore" || fate === "adapterBefore") await this.#kill(fate);
    if (fate === `${doer}Before`) return await never<T>();
    if (fate === "clockForward") this.clock.jump(HOUR_MS);
    if (fate === "clockBack") this.clock.jump(-HOUR_MS);
    const done = await act();
    if (fate === "gatewayAfter" || fate === "adapterAfter") await this.#kill(fate);
    if (fate === "agentAfter") this.bridge.agentDies();
    if (fate === "linkAfter") for (const link of this.bridge.links) link.cut();
    return alive() ? done : await never<T>();
  }

  async #kill(fate: Fate): Promise<void> {
    if (fate.startsWith("adapter")) {
      this.#adapter?.die();
      this.#adapter = new SimAdapter(this);
      return;
    }
    this.#stop.abort();
    for (const link of this.bridge.links) link.cut();
    await this.#startGateway();
  }

  /** The gateway dies and is started again. */
  async restart(): Promise<void> {
    await this.#kill("gatewayAfter");
  }

  stop(): void {
    this.#stop.abort();
    this.#adapter?.die();
  }
}

function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}

const SESSION = {
  metadata: { name: "main", uid: UID, creationTimestamp: "2029-12-31T00:00:00Z" },
  spec: {
    operatingMode: "Running",
    heartbeat: { intervalSeconds: 0 },
    turn: { silenceSeconds: 600, commandSilenceSeconds: 3600 },
  },
} as unknown as ArgusSession;
