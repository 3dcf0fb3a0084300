import { createHash } from "node:crypto";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import { KeyedListeners } from "#lib/keyed-listeners.ts";
import { CLOSE } from "#protocol/client.ts";
import type { Device } from "#protocol/device.ts";
import type { NodeEvent } from "#protocol/node.ts";
import type { ApprovalRow, NodeAnswer, NodeRow } from "#protocol/node-methods.ts";
import type { NodeAsks } from "../channels/node-asks.ts";
import type { LaneContext } from "../context.ts";
import type { Lanes } from "../lanes/lanes.ts";
import { failure, type Outcome } from "./calls.ts";
import { Devices } from "./devices.ts";
import { NodeDoor } from "./door.ts";
import { JobExits } from "./exits.ts";
import type { NodeLink } from "./link.ts";
import { Node } from "./node.ts";
import { Pairings } from "./pairings.ts";
import type { OpenStream, StreamSink } from "./streams.ts";
import { resolveNode, rowsOf } from "./view.ts";

const PING_MS = 15_000;
/** After a start, or a cut, a call waits this long for its node. */
const RETURN_MS = 20_000;
/** Without a word of the call. */
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_APPROVAL_MS = 5 * 60_000;

export interface NodesOptions {
  context: LaneContext;
  lanes: Lanes;
  /** Only known to this gateway; codes are made from it. */
  secret: string;
  asks?: Pick<NodeAsks, "asked" | "answered">;
}

/** Told what a session's nodes ask. */
export interface NodeListener {
  onApproval: (row: ApprovalRow) => void;
}

export interface NodeCall {
  node: string | undefined;
  command: string;
  params: unknown;
  /** Unique within the session: a repeat is the same call. */
  callId: string;
  timeoutMs?: number | undefined;
  signal?: AbortSignal;
}

/** The nodes that sessions may use: who is there, what they are asked, what they answer. */
export class Nodes {
  readonly door: NodeDoor;
  readonly pairings: Pairings;
  readonly devices: Devices;
  readonly #options: NodesOptions;
  readonly #nodes = new Map<string, Node>();
  readonly #exits: JobExits;
  readonly #listeners = new KeyedListeners<NodeListener>();
  readonly #startedAt = Date.now();

  constructor(options: NodesOptions) {
    this.#options = options;
    const { context, lanes, secret } = options;
    const { auth, logger, signal, state } = context;
    this.pairings = new Pairings(secret);
    this.devices = new Devices(state, this.pairings, () => this.#devicesChanged());
    this.door = new NodeDoor({
      auth,
      logger,
      pairings: this.pairings,
      deviceOf: (hash) => this.devices.ofToken(hash),
      giveToken: (request) => this.devices.giveToken(request),
      connected: (link) => this.#connected(link),
      event: (link, event) => this.#event(link, event),
      binary: (link, frame) => this.#nodeOf(link)?.streams.take(frame),
      disconnected: (link) => this.#disconnected(link),
    });
    const session = (link: NodeLink, name: string | null) => this.#sessionOf(link, name);
    this.#exits = new JobExits({ lanes, session, logger });
    const timer = setInterval(() => this.#ping(), PING_MS);
    signal.addEventListener("abort", () => this.#stop(timer), { once: true });
  }

  /** The nodes that the session may use, connected or not, by name. */
  list(session: ArgusSession): NodeRow[] {
    const devices = this.devices.list.filter((each) => mayUse(each, session));
    const own = this.#nodes.get(`runtime:${session.metadata.name}`);
    return rowsOf(devices, own?.link, (id) => this.#nodes.get(id)?.link);
  }

  /** All of them, with their sessions. */
  all(): NodeRow[] {
    const rows = rowsOf(this.devices.list, undefined, (id) => this.#nodes.get(id)?.link);
    return rows.map((row) => ({
      ...row,
      sessions: this.devices.find(row.nodeId)?.sessions.map(({ name }) => name) ?? [],
    }));
  }

  /** Asks a node of the session. Never rejects; throws only for a node that cannot be named: `NotFound`, `InvalidInput`. */
  async invoke(session: ArgusSession, call: NodeCall): Promise<NodeAnswer> {
    const row = resolveNode(this.list(session), call.node, session.metadata.name);
    const outcome = await this.#ask(session, row.nodeId, call);
    return { ...outcome, nodeId: row.nodeId, command: call.command };
  }

  async #ask(session: ArgusSession, nodeId: string, wanted: NodeCall): Promise<Outcome> {
    const { command, signal } = wanted;
    const node = this.#node(nodeId);
    if (node.link && !node.link.runs(command))
      return failure("UNSUPPORTED", `${nodeId} does not know ${command}`);
    const uid = session.metadata.uid ?? "";
    const id = callIdOf(uid, wanted.callId);
    const timeoutMs = wanted.timeoutMs ?? defaultTimeout(command, wanted.params);
    const outcome = node.calls.start(
      {
        id,
        sessionUid: uid,
        sessionId: session.metadata.name,
        command,
        paramsJSON: JSON.stringify(wanted.params ?? {}),
        timeoutMs,
        approvalMs: wanted.timeoutMs ?? DEFAULT_APPROVAL_MS,
        waitMs: Math.min(timeoutMs, this.#mayReturn(node) ? RETURN_MS : 0),
      },
      node.link,
    );
    const cancel = () => node.calls.cancel(id, node.link);
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await outcome;
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.#forgetIdle(node);
    }
  }

  /** Whether the node was there a moment ago, as far as this process can know. */
  #mayReturn({ leftAt }: Node): boolean {
    const now = Date.now();
    return now - this.#startedAt < 60_000 || (leftAt !== undefined && now - leftAt < 60_000);
  }

  /** A job's output, from these offsets on. Throws as {@link invoke}. */
  stream(
    session: ArgusSession,
    wanted: { node: string; jobId: string; stdout: number; stderr: number },
    sink: StreamSink,
  ): OpenStream {
    const { nodeId } = resolveNode(this.list(session), wanted.node, session.metadata.name);
    const { jobId, stdout, stderr } = wanted;
    const { name, uid = "" } = session.metadata;
    const facts = { jobId, sessionUid: uid, sessionId: name, offsets: { stdout, stderr } };
    return this.#node(nodeId).streams.open(facts, sink);
  }

  /** What the session's nodes ask their owner. */
  approvals(session: ArgusSession): ApprovalRow[] {
    const { name } = session.metadata;
    const visible = this.list(session).map(({ nodeId }) => this.#nodes.get(nodeId));
    return visible.flatMap((node) => node?.approvals.rows(name) ?? []);
  }

  /** Decides a question of the session's nodes. Throws `NotFound` when there is none (any more). */
  answer(session: ArgusSession, wanted: string, decision: "accept" | "decline"): ApprovalRow {
    const isMeant = ({ approvalId }: ApprovalRow) => approvalId.startsWith(wanted);
    const [row, second] = this.approvals(session).filter(isMeant);
    const node = row && this.#nodes.get(row.nodeId);
    if (!row || second || !node?.link) {
      const words = `There is no code or question ${wanted} (any more) in this session.`;
      throw new ArgusError("NotFound", words);
    }
    node.approvals.answer(row.approvalId, decision, node.link);
    this.#options.asks?.answered(session, row, decision);
    return row;
  }

  watch(session: ArgusSession, listener: NodeListener): () => void {
    return this.#listeners.add(session.metadata.name, listener);
  }

  #connected(link: NodeLink): void {
    const { identity } = link;
    // It may have been revoked since its token was looked at.
    if (identity.kind === "device" && !this.devices.ofToken(identity.tokenHash)) {
      return link.close(CLOSE.policy, "Unauthorized");
    }
    this.#node(link.nodeId).connected(link);
    this.#options.context.logger.info({ node: link.nodeId }, "a node connected");
    this.#seen(link);
  }

  #disconnected(link: NodeLink): void {
    const node = this.#nodes.get(link.nodeId);
    if (!node || node.link !== link) return;
    node.disconnected(link);
    this.#options.context.logger.info({ node: link.nodeId }, "a node disconnected");
    this.#seen(link);
    this.#forgetIdle(node);
  }

  /** Last seen is told from memory while it is there; on the disk it may be a minute old. */
  #seen({ identity, lastSeen }: NodeLink): void {
    if (identity.kind !== "device" || this.#options.context.signal.aborted) return;
    this.devices.seen(identity.id, lastSeen).catch((error: unknown) => {
      this.#options.context.logger.warn({ err: error }, "when a node was seen was not recorded");
    });
  }

  #event(link: NodeLink, { event, payload }: NodeEvent): void {
    const node = this.#nodeOf(link);
    if (!node) return;
    if (event === "node.invoke.result") node.calls.answered(payload, link);
    else if (event === "node.stream.end") node.streams.ended(payload);
    else if (event === "node.process.exited")
      this.#exits.take(payload, link, () => node.link === link);
    else if (event === "node.approval.request") this.#asked(payload, link, node);
  }

  #asked(payload: unknown, link: NodeLink, node: Node): void {
    const asked = node.approvals.asked(payload, link);
    const session = this.#sessionOf(link, asked?.sessionId ?? "");
    if (!asked || !session) return;
    node.calls.asked(asked.request.invokeId, asked.request.expiresInMs);
    for (const { onApproval } of this.#listeners.of(asked.sessionId)) onApproval(asked.row);
    void this.#options.asks?.asked(session, asked.row);
  }

  /** Whoever may not be here any more is cut off at once, and so is what sessions lost. */
  #devicesChanged(): void {
    for (const node of this.#nodes.values()) this.#check(node);
  }

  #check(node: Node): void {
    const { link } = node;
    const identity = link?.identity;
    if (node.id.startsWith("runtime:")) return;
    const device = this.devices.find(node.id);
    const lost = ({ sessionUid }: { sessionUid: string }) =>
      !device?.sessions.some(({ uid }) => uid === sessionUid);
    node.calls.endThose(lost, "the device was revoked", node.link);
    node.streams.endThose(lost, "the device was revoked");
    if (link && identity?.kind === "device" && !this.devices.ofToken(identity.tokenHash)) {
      // What it still sends is not read.
      node.disconnected(link);
      link.close(CLOSE.policy, "Revoked");
    }
  }

  /** The session of that name, if the node may be used by it; a pod's own when it names none. */
  #sessionOf({ identity }: NodeLink, name: string | null): ArgusSession | undefined {
    const own = identity.kind === "pod" ? identity.session : undefined;
    const session = this.#options.context.directory.session(name ?? own ?? "");
    if (!session || identity.kind === "pod")
      return session?.metadata.name === own ? session : undefined;
    const device = this.devices.ofToken(identity.tokenHash);
    return device && mayUse(device, session) ? session : undefined;
  }

  #node(id: string): Node {
    const node = this.#nodes.get(id) ?? new Node(id);
    this.#nodes.set(id, node);
    return node;
  }

  #nodeOf(link: NodeLink): Node | undefined {
    const node = this.#nodes.get(link.nodeId);
    return node?.link === link ? node : undefined;
  }

  #forgetIdle(node: Node): void {
    if (node.isIdle && !this.devices.find(node.id)) this.#nodes.delete(node.id);
  }

  #ping(): void {
    for (const { link } of this.#nodes.values()) link?.ping();
  }

  #stop(timer: NodeJS.Timeout): void {
    clearInterval(timer);
    this.door.close(CLOSE.goingAway, "The gateway stops");
  }
}

const mayUse = ({ sessions }: Device, { metadata }: ArgusSession) =>
  sessions.some(({ uid }) => uid === metadata.uid);

/** One session cannot name another's call. */
const callIdOf = (sessionUid: string, callId: string) =>
  createHash("sha256").update(`${sessionUid} ${callId}`).digest("hex").slice(0, 32);

/** A command that waits for its program needs that time on top. */
function defaultTimeout(command: string, params: unknown): number {
  if (command !== "system.run") return DEFAULT_TIMEOUT_MS;
  const { yieldMs } = (params ?? {}) as { yieldMs?: unknown };
  return DEFAULT_TIMEOUT_MS + (typeof yieldMs === "number" ? Math.max(0, yieldMs) : 10_000);
}
