import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import { CLOSE } from "#protocol/client.ts";
import type { Device } from "#protocol/device.ts";
import { ApprovalRequest, type NodeEvent } from "#protocol/node.ts";
import type { ApprovalRow, NodeAnswer, NodeRow } from "#protocol/node-methods.ts";
import type { QueuedCall } from "#protocol/queued-call.ts";
import type { LaneContext } from "../context.ts";
import type { Lanes } from "../lanes/lanes.ts";
import { type ApprovalListener, Approvals } from "./approvals.ts";
import { callOf, type NodeCall } from "./call-of.ts";
import type { Outcome } from "./calls.ts";
import { Devices } from "./devices.ts";
import { NodeDoor } from "./door.ts";
import { JobExits } from "./exits.ts";
import { KnownNodes } from "./known-nodes.ts";
import type { NodeLink } from "./link.ts";
import type { Node } from "./node.ts";
import { isOwnNode, isUp, needPod, ownNodeId } from "./own-pod.ts";
import { Pairings } from "./pairings.ts";
import { type CallQueue, laterOutcome, type QueueDesk } from "./queue.ts";
import type { OpenStream, StreamSink } from "./streams.ts";
import { resolveNode, rowsOf } from "./view.ts";

const PING_MS = 15_000;
/** A session's pod may have to be made first. */
const POD_MS = 120_000;

export interface NodesOptions {
  context: LaneContext;
  lanes: Lanes;
  queue: CallQueue;
  /** Only known to this gateway; codes are made from it. */
  secret: string;
}

/** The nodes that sessions may use: who is there, what they are asked, what they answer. */
export class Nodes {
  readonly door: NodeDoor;
  readonly pairings: Pairings;
  readonly devices: Devices;
  readonly queue: CallQueue;
  readonly #options: NodesOptions;
  readonly #nodes = new KnownNodes((id) => this.devices.find(id) !== undefined);
  readonly #exits: JobExits;
  readonly #approvals = new Approvals();

  constructor(options: NodesOptions) {
    this.#options = options;
    const { context, lanes, secret, queue } = options;
    this.queue = queue;
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
      binary: (link, frame) => this.#nodes.of(link)?.streams.take(frame),
      disconnected: (link) => this.#disconnected(link),
    });
    const session = (link: NodeLink, name: string | null) => this.#sessionOf(link, name);
    this.#exits = new JobExits({ lanes, session, logger });
    queue.begin(lanes, this.#desk());
    const timer = setInterval(() => this.#ping(), PING_MS);
    signal.addEventListener("abort", () => this.#stop(timer), { once: true });
  }

  /** The devices that the session may use, connected or not, and its own pod while that is there, by name. */
  list(session: ArgusSession): NodeRow[] {
    const own = ownNodeId(session);
    return this.#known(session).filter(({ nodeId, connected }) => connected || nodeId !== own);
  }

  /** A pod that is not there is made for whoever asks it. */
  #known(session: ArgusSession): NodeRow[] {
    const devices = this.devices.list.filter((each) => mayUse(each, session));
    return rowsOf(devices, ownNodeId(session), (id) => this.#nodes.linkOf(id));
  }

  /** All of them, with their sessions. */
  all(): NodeRow[] {
    const rows = rowsOf(this.devices.list, undefined, (id) => this.#nodes.linkOf(id));
    return rows.map((row) => ({
      ...row,
      sessions: this.devices.find(row.nodeId)?.sessions.map(({ name }) => name) ?? [],
    }));
  }

  /**
   * Asks a node of the session. Throws only for a node that cannot be named (`NotFound`, `InvalidInput`) and for a call that is to wait
   * and was not taken (`Busy`, `TooLarge`).
   */
  async invoke(session: ArgusSession, call: NodeCall): Promise<NodeAnswer> {
    const row = resolveNode(this.#known(session), call.node, session.metadata.name);
    const outcome = await this.#askOrQueue(session, row.nodeId, call);
    return { ...outcome, nodeId: row.nodeId, command: call.command };
  }

  /** A pod needs no queue: it is made for the call. What is to wait does not overtake what waits. */
  async #askOrQueue(session: ArgusSession, nodeId: string, wanted: NodeCall): Promise<Outcome> {
    const { queueForMs } = wanted;
    if (queueForMs === undefined || isOwnNode(nodeId)) return this.#ask(session, nodeId, wanted);
    const later = async (asked?: QueuedCall["asked"]) => {
      const call = { ...callOf(session, wanted, 0), nodeId, queueForMs };
      return laterOutcome(await this.queue.add(session, { ...call, ...(asked ? { asked } : {}) }));
    };
    const there = this.#nodes.ready(nodeId);
    if (!there || this.queue.waits(session, nodeId)) return await later();
    const outcome = await this.#ask(session, nodeId, wanted);
    const code = outcome.error?.code;
    if (code === "NOT_CONNECTED") return await later();
    // It went away with the call: the same one is asked again, which starts nothing twice.
    const isLost = code === "TIMEOUT" && !this.#nodes.linkOf(nodeId);
    return isLost ? await later({ boot: there.boot }) : outcome;
  }

  #desk(): QueueDesk {
    const nodes = this.#nodes;
    return {
      ready: (id) => nodes.ready(id),
      mayUse: (id, uid) =>
        this.devices.find(id)?.sessions.some((each) => each.uid === uid) ?? false,
      send: (id, call) => nodes.send(id, call),
      cancel: (id, callId) => nodes.cancel(id, callId),
      label: (id) => this.devices.find(id)?.name || id,
    };
  }

  async #ask(session: ArgusSession, nodeId: string, wanted: NodeCall): Promise<Outcome> {
    const { directory, keeper } = this.#options.context;
    const use = isOwnNode(nodeId) ? keeper.useOf(session) : undefined;
    const isThere = !use || (use.isAllowed && isUp(directory.podOf(session)));
    const call = callOf(session, wanted, isThere ? this.#nodes.returnMs(nodeId) : POD_MS);
    const release = use && (await needPod(use, call.waitMs));
    try {
      return await this.#nodes.send(nodeId, call, wanted.signal);
    } finally {
      release?.();
    }
  }

  /** A job's output, from these offsets on. Throws as {@link invoke}. */
  stream(
    session: ArgusSession,
    wanted: { node: string; jobId: string; stdout: number; stderr: number },
    sink: StreamSink,
  ): OpenStream {
    const { nodeId } = resolveNode(this.#known(session), wanted.node, session.metadata.name);
    const { jobId, stdout, stderr } = wanted;
    const { name, uid = "" } = session.metadata;
    const facts = { jobId, sessionUid: uid, sessionId: name, offsets: { stdout, stderr } };
    return this.#nodes.node(nodeId).streams.open(facts, sink);
  }

  /** What the session's nodes ask their owner. */
  approvals(session: ArgusSession): ApprovalRow[] {
    const visible = this.list(session).map(({ nodeId }) => nodeId);
    return this.#approvals.rows(session, visible);
  }

  /**
   * Decides a question of the session's nodes, by its id or the beginning of it; `by` is who decides, for people. A device
   * that is away is told when it asks again. Throws `NotFound` when there is none (any more).
   */
  answer(
    session: ArgusSession,
    wanted: string,
    { decision, by }: { decision: "accept" | "decline"; by: string },
  ): ApprovalRow {
    const found = this.approvals(session).filter(({ approvalId }) => approvalId.startsWith(wanted));
    const [row] = found;
    if (!row || found.length > 1) {
      const message = `There is no code or question ${wanted} (any more) in this session.`;
      throw new ArgusError("NotFound", message);
    }
    this.#approvals.answer(row, decision, by);
    const { nodeId: node, command } = row;
    const facts = { node, command, session: session.metadata.name, decision, by };
    this.#options.context.logger.info(facts, "a question of a node was answered");
    return row;
  }

  /** Follows what nodes ask their owners, of all sessions. Returns the unsubscribe function. */
  watchApprovals(listener: ApprovalListener): () => void {
    return this.#approvals.watch(listener);
  }

  #connected(link: NodeLink): void {
    const { identity } = link;
    // It may have been revoked since its token was looked at.
    if (identity.kind === "device" && !this.devices.ofToken(identity.tokenHash)) {
      return link.close(CLOSE.policy, "Unauthorized");
    }
    this.#nodes.node(link.nodeId).connected(link);
    this.#approvals.connected(link);
    this.queue.look();
    this.#options.context.logger.info({ node: link.nodeId }, "a node connected");
    this.#seen(link);
  }

  #disconnected(link: NodeLink): void {
    const node = this.#nodes.find(link.nodeId);
    this.#approvals.disconnected(link);
    if (!node || node.link !== link) return;
    node.disconnected(link);
    this.#options.context.logger.info({ node: link.nodeId }, "a node disconnected");
    this.#seen(link);
    this.#nodes.forgetIdle(node);
  }

  /** Last seen is told from memory while it is there; on the disk it may be a minute old. */
  #seen({ identity, lastSeen }: NodeLink): void {
    if (identity.kind !== "device" || this.#options.context.signal.aborted) return;
    this.devices.seen(identity.id, lastSeen).catch((error: unknown) => {
      this.#options.context.logger.warn({ err: error }, "when a node was seen was not recorded");
    });
  }

  #event(link: NodeLink, { event, payload }: NodeEvent): void {
    const node = this.#nodes.of(link);
    if (!node) return;
    if (event === "node.invoke.result") {
      const ended = node.calls.answered(payload, link);
      if (ended !== undefined) this.#approvals.callEnded(node.id, ended);
    } else if (event === "node.stream.end") node.streams.ended(payload);
    else if (event === "node.process.exited")
      this.#exits.take(payload, link, () => node.link === link);
    else if (event === "node.approval.request") this.#asked(payload, link, node);
  }

  #asked(payload: unknown, link: NodeLink, node: Node): void {
    const { data: asked } = ApprovalRequest.safeParse(payload);
    const session = asked && this.#sessionOf(link, asked.sessionId);
    if (!session) return;
    node.calls.asked(asked.invokeId, asked.expiresInMs);
    this.#approvals.asked(asked, link, session);
  }

  /** Whoever may not be here any more is cut off at once, and so is what sessions lost. */
  #devicesChanged(): void {
    for (const node of this.#nodes.all) this.#check(node);
    this.queue.look();
  }

  #check(node: Node): void {
    const { link } = node;
    const identity = link?.identity;
    if (isOwnNode(node.id)) return;
    const device = this.devices.find(node.id);
    const lost = ({ sessionUid }: { sessionUid: string }) =>
      !device?.sessions.some(({ uid }) => uid === sessionUid);
    node.calls.endThose(lost, "the device was revoked", node.link);
    node.streams.endThose(lost, "the device was revoked");
    this.#approvals.endThose(node.id, ({ metadata }) => lost({ sessionUid: metadata.uid ?? "" }));
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

  #ping(): void {
    for (const { link } of this.#nodes.all) {
      if (link && this.#isOver(link)) link.close(CLOSE.policy, "The pod is gone");
      else link?.ping();
    }
  }

  /** A pod's token was good when it came; the pod may be gone since. */
  #isOver({ identity }: NodeLink): boolean {
    if (identity.kind !== "pod") return false;
    return this.#options.context.directory.podByUid(identity.podUid) === undefined;
  }

  #stop(timer: NodeJS.Timeout): void {
    clearInterval(timer);
    this.door.close(CLOSE.goingAway, "The gateway stops");
  }
}

const mayUse = ({ sessions }: Device, { metadata }: ArgusSession) =>
  sessions.some(({ uid }) => uid === metadata.uid);
