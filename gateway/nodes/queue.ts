import type { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { QueuedCall, QueuedPayload, QueuedRow } from "#protocol/queued-call.ts";
import type { Lane } from "../lanes/lane.ts";
import type { DocumentWatcher, Lanes } from "../lanes/lanes.ts";
import { askCall, type CallEnd, endCall, findCall, queueCall, rowsOf } from "../state/calls.ts";
import { type Call, type Outcome, REPEATABLE } from "./calls.ts";
import { answered, ended } from "./queued-words.ts";

/** Times are looked at this often. */
const LOOK_MS = 1000;
/** After a failed commit, and before a device is asked again that gave no answer. */
const RETRY_MS = 2000;

/** What the queue needs of the nodes. */
export interface QueueDesk {
  /** The run of its node-host; undefined while the device is away, or has no room for another call. */
  ready(nodeId: string): { boot: string | null } | undefined;
  /** Whether the session object may use the device. */
  mayUse(nodeId: string, sessionUid: string): boolean;
  send(nodeId: string, call: Call): Promise<Outcome>;
  cancel(nodeId: string, callId: string): void;
  /** The device's name, for people. */
  label(nodeId: string): string;
}

interface Held {
  lane: Lane;
  name: string;
}

/**
 * Calls for devices that are away. They stand in their session's document; whatever stands there is sent when its device is there,
 * in order for each session and device, and leaves with the event that tells its end. After any crash the device is asked again by
 * the call's id, which it answers once.
 */
export class CallQueue implements DocumentWatcher {
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  /** Documents with open calls, by the session object's UID. */
  readonly #held = new Map<string, Held>();
  /** Session and device whose first call is being sent. */
  readonly #busy = new Set<string>();
  /** Calls that wait for a device's answer. */
  readonly #flying = new Set<string>();
  #desk: QueueDesk | undefined;
  #lanes: Lanes | undefined;

  constructor({ logger, signal }: { logger: Logger; signal: AbortSignal }) {
    this.#logger = logger;
    this.#signal = signal;
  }

  begin(lanes: Lanes, desk: QueueDesk): void {
    this.#lanes = lanes;
    this.#desk = desk;
    const timer = setInterval(() => this.look(), LOOK_MS);
    this.#signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  changed(uid: string, lane: Lane, name: string): void {
    if (lane.state.current.calls.length === 0) return this.gone(uid);
    this.#held.set(uid, { lane, name });
    this.#start(uid);
  }

  gone(uid: string): void {
    this.#held.delete(uid);
  }

  /** Whether something of the session waits for the device: what comes later must not overtake it. */
  waits({ metadata: { uid = "" } }: ArgusSession, nodeId: string): boolean {
    const calls = this.#held.get(uid)?.lane.state.current.calls ?? [];
    return calls.some((call) => call.nodeId === nodeId);
  }

  /** Resolves once it is on the disk. Throws as {@link queueCall}. */
  async add(
    session: ArgusSession,
    call: Call & { nodeId: string; queueForMs: number; asked?: QueuedCall["asked"] },
  ): Promise<QueuedRow> {
    const { sessionUid: _, sessionId: __, waitMs: ___, ...wanted } = call;
    const paramsJSON = told(call);
    const lane = await this.#laneOf(session);
    const { limit } = lane;
    return await lane.state.reduce((document) =>
      queueCall(document, { ...wanted, paramsJSON }, { now: Date.now(), limit }),
    );
  }

  async list(session: ArgusSession): Promise<QueuedRow[]> {
    return rowsOf((await this.#laneOf(session)).state.current);
  }

  /** Takes a call back: what a device has got of it is withdrawn there. Throws `NotFound`. */
  async cancel(session: ArgusSession, wanted: string): Promise<QueuedRow> {
    const lane = await this.#laneOf(session);
    const { id, nodeId, asked } = findCall(lane.state.current, wanted);
    const isFlying = this.#flying.has(id);
    if (isFlying) this.#desk?.cancel(nodeId, id);
    else {
      const end = asked
        ? { state: "unknown", reason: "cancelled after it was sent to the device, which is away" }
        : { state: "cancelled", reason: "" };
      await this.#end(lane, { id, ...end } as CallEnd);
    }
    const row = rowsOf(lane.state.current).find(({ callId }) => callId === id);
    if (row) return row;
    throw new ArgusError("NotFound", `Call ${id} is over.`);
  }

  /** Looks at all: what may go now, what is too late, whose device is gone. */
  look(): void {
    for (const [uid, { lane }] of this.#held) {
      for (const call of lane.state.current.calls) this.#check(uid, call);
      this.#start(uid);
    }
  }

  #check(uid: string, call: QueuedCall): void {
    const { lane } = this.#held.get(uid) ?? {};
    if (!lane || !this.#desk || this.#flying.has(call.id) || lane.state.current.closing) return;
    const isGone = !this.#desk.mayUse(call.nodeId, uid);
    if (!isGone && call.expiresAt > Date.now()) return;
    const label = this.#desk.label(call.nodeId);
    const why = isGone ? "the device was revoked" : "the device did not come back in time";
    const end = call.asked
      ? { state: "unknown" as const, reason: `${why}; it was sent before, and no answer came` }
      : { state: isGone ? ("revoked" as const) : ("expired" as const), reason: why };
    this.#flying.add(call.id);
    void this.#ended(lane, ended(call, { ...end, label })).finally(() =>
      this.#flying.delete(call.id),
    );
  }

  #start(uid: string): void {
    const calls = this.#held.get(uid)?.lane.state.current.calls ?? [];
    for (const nodeId of new Set(calls.map((call) => call.nodeId))) {
      const key = `${uid} ${nodeId}`;
      if (this.#busy.has(key) || !this.#desk?.ready(nodeId)) continue;
      this.#busy.add(key);
      void this.#work(uid, nodeId).finally(() => this.#busy.delete(key));
    }
  }

  /** One after the other, until none is left or the device is away. */
  async #work(uid: string, nodeId: string): Promise<void> {
    for (;;) {
      const held = this.#held.get(uid);
      const call = held?.lane.state.current.calls.find((each) => each.nodeId === nodeId);
      const isOver = this.#signal.aborted || !held || held.lane.state.current.closing;
      if (isOver || !call || this.#flying.has(call.id)) return;
      this.#flying.add(call.id);
      try {
        if (!(await this.#deliver(uid, held, call))) return;
      } catch (error) {
        this.#failed(held.name, call, error);
        return;
      } finally {
        this.#flying.delete(call.id);
      }
    }
  }

  /** False: not now. */
  async #deliver(uid: string, { lane, name }: Held, call: QueuedCall): Promise<boolean> {
    const { id, nodeId, command } = call;
    const desk = this.#desk;
    const there = desk?.ready(nodeId);
    if (!desk || !there || !desk.mayUse(nodeId, uid)) return false;
    const label = desk.label(nodeId);
    if (call.asked && !isRepeatable(call, there.boot)) {
      const reason = "the node-host was started again, or it does not remember what it was asked";
      return await this.#ended(lane, ended(call, { state: "unknown", reason, label }));
    }
    const { boot } = there;
    const asked = await lane.state.reduce((before) =>
      askCall(before, { id, boot, now: Date.now() }),
    );
    if (!asked) return false;
    this.#logger.info({ node: nodeId, call: id, command, session: name }, "a queued call is sent");
    const outcome = await desk.send(nodeId, sentCall(asked, { uid, name }));
    // The gateway stops: its successor asks again.
    if (this.#signal.aborted) return false;
    if (isUnanswered(outcome)) {
      await systemClock.sleep(RETRY_MS, this.#signal).catch(() => undefined);
      return true;
    }
    return await this.#ended(lane, answered(asked, outcome, label));
  }

  /** Commits the end, however often that needs to be tried. False: the gateway stops, or the session is going. */
  async #ended(lane: Lane, end: CallEnd): Promise<boolean> {
    while (!this.#signal.aborted && !lane.state.current.closing) {
      try {
        await this.#end(lane, end);
        return true;
      } catch (error) {
        const facts = { call: end.id, state: end.state, error: errorMessage(error) };
        this.#logger.warn(facts, "the end of a queued call could not be written down yet");
        await systemClock.sleep(RETRY_MS, this.#signal).catch(() => undefined);
      }
    }
    return false;
  }

  async #end(lane: Lane, end: CallEnd): Promise<void> {
    const { limit } = lane;
    const isFirst = await lane.state.reduce((document) =>
      endCall(document, end, { now: Date.now(), limit }),
    );
    if (isFirst) this.#logger.info({ call: end.id, state: end.state }, "a queued call has ended");
    lane.wake();
  }

  #failed(session: string, { id }: QueuedCall, error: unknown): void {
    const facts = { session, call: id, error: errorMessage(error) };
    this.#logger.warn(facts, "a queued call could not be sent; it is tried again");
  }

  async #laneOf(session: ArgusSession): Promise<Lane> {
    if (this.#lanes) return await this.#lanes.of(session);
    throw new ArgusError("Unavailable", "The gateway is starting: try again.");
  }
}

/** Whether a device that may have got it can be asked once more. */
function isRepeatable({ command, asked }: QueuedCall, boot: string | null): boolean {
  if (boot === null) return false;
  return REPEATABLE.has(command) || asked?.boot === boot;
}

/** The answer to a call that was queued, or had been. */
export function laterOutcome(row: QueuedRow): Outcome {
  const payload = { queued: true, ...row } satisfies z.infer<typeof QueuedPayload>;
  if (["queued", "sent", "started", "done"].includes(row.state))
    return { ok: true, payload, error: null };
  const code = row.state === "unknown" ? "OUTCOME_UNKNOWN" : "CANCELED";
  const message = `this call waited for its device and ended: ${row.state}. ${row.reason}`.trim();
  return { ok: false, payload, error: { code, message } };
}

const UNANSWERED = new Set(["NOT_CONNECTED", "TIMEOUT"]);
const isUnanswered = ({ error }: Outcome) => UNANSWERED.has(error?.code ?? "");

/** A program's end is told, with its output, whatever its caller wished: nobody waits for the answer. */
function told({ command, paramsJSON }: Call): string {
  if (command !== "system.run") return paramsJSON;
  const {
    notifyOnExit: _,
    outputBytes: __,
    yieldMs: ___,
    ...params
  } = JSON.parse(paramsJSON) as Record<string, unknown>;
  return JSON.stringify(params);
}

function sentCall(queued: QueuedCall, { uid, name }: { uid: string; name: string }): Call {
  const { id, command, by, paramsJSON, timeoutMs, approvalMs } = queued;
  const session = { sessionUid: uid, sessionId: name };
  return { id, ...session, command, by, paramsJSON, timeoutMs, approvalMs, waitMs: RETRY_MS };
}
