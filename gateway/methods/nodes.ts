import { randomUUID } from "node:crypto";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import {
  NodeCodeParams,
  NodeInvokeParams,
  NodeListParams,
  NodeNameParams,
  NodeStreamCloseParams,
  NodeStreamParams,
} from "#protocol/node-methods.ts";
import { QueueCancelParams } from "#protocol/queued-call.ts";
import type { ClientStreams } from "../nodes/client-streams.ts";
import type { Nodes } from "../nodes/nodes.ts";
import { resolveNode } from "../nodes/view.ts";
import type { Caller, CallerMethod } from "./method.ts";

/** Who asks, with what each of these methods needs. */
interface NodeCaller {
  nodes: Nodes;
  session: ArgusSession;
  isAdmin: boolean;
  /** Who decides, for people. */
  by: string;
  /** Undefined for a caller without a connection. */
  streams: ClientStreams | undefined;
}
type NodeMethod = (caller: NodeCaller, params: unknown) => Promise<object>;

const METHODS: Record<string, NodeMethod> = {
  "argus/node/list": list,
  "argus/node/invoke": invoke,
  "argus/node/stream/open": openStream,
  "argus/node/stream/close": async ({ streams }, params) => {
    streams?.close(NodeStreamCloseParams.parse(params).streamId);
    return {};
  },
  "argus/node/pending": async ({ nodes, session, isAdmin }) => ({
    // Whoever sees a code could take the device: others have to read it from the device itself.
    pairings: isAdmin ? nodes.pairings.rows(Date.now()) : [],
    approvals: nodes.approvals(session),
  }),
  "argus/node/approve": approve,
  "argus/node/refuse": refuse,
  "argus/node/revoke": revoke,
  "argus/node/queue/list": async ({ nodes, session }) => ({
    calls: await nodes.queue.list(session),
  }),
  "argus/node/queue/cancel": async ({ nodes, session }, params) => ({
    call: await nodes.queue.cancel(session, QueueCancelParams.parse(params).call),
  }),
};

export const nodeMethods: Record<string, CallerMethod> = Object.fromEntries(
  Object.entries(METHODS).map(([name, method]) => [name, called(method)]),
);

function called(method: NodeMethod): CallerMethod {
  return async (caller: Caller, params: unknown) => ({
    ok: true,
    ...(await method(
      {
        nodes: caller.context.nodes,
        session: await caller.session(),
        isAdmin: caller.principal.kind === "admin",
        by: personOf(caller.principal),
        streams: caller.streams?.(),
      },
      params,
    )),
  });
}

/** Who decides, for people: the name in the token, where it has one. */
function personOf(principal: Caller["principal"]): string {
  if (principal.kind === "admin") return "the owner";
  return (principal.kind === "client" && principal.person) || "a person of the session";
}

async function list({ nodes, session, isAdmin }: NodeCaller, params: unknown) {
  const { all } = NodeListParams.parse(params);
  if (all && !isAdmin) {
    throw new ArgusError("Forbidden", "Only the admin token sees the nodes of all sessions.");
  }
  return { nodes: all ? nodes.all() : nodes.list(session) };
}

async function invoke({ nodes, session }: NodeCaller, given: unknown) {
  const { callId: named, ...wanted } = NodeInvokeParams.parse(given);
  const callId = `client/${named ?? randomUUID()}`;
  const params = wanted.params ?? {};
  return await nodes.invoke(session, { ...wanted, params, callId, by: "person" });
}

async function openStream({ nodes, session, streams }: NodeCaller, params: unknown) {
  const { streamId, node, jobId, stdoutOffset, stderrOffset } = NodeStreamParams.parse(params);
  if (!streams) throw new ArgusError("InvalidInput", "Output streams over a WebSocket only.");
  const wanted = { node, jobId, stdout: stdoutOffset, stderr: stderrOffset };
  streams.open(streamId, (sink) => nodes.stream(session, wanted, sink));
  return { streamId };
}

async function refuse({ nodes, session, by }: NodeCaller, params: unknown) {
  const { code } = NodeCodeParams.parse(params);
  if (nodes.devices.refuse(code)) return { refused: "device" };
  const approval = nodes.answer(session, code, { decision: "decline", by });
  return { refused: "command", approval, by };
}

async function revoke({ nodes, session, isAdmin }: NodeCaller, params: unknown) {
  const rows = isAdmin ? nodes.all() : nodes.list(session);
  const { nodeId } = resolveNode(rows, NodeNameParams.parse(params).node, session.metadata.name);
  const revoked = await nodes.devices.revoke(nodeId, isAdmin ? undefined : session);
  if (!revoked) throw new ArgusError("InvalidInput", `${nodeId} is no paired device.`);
  return { nodeId };
}

/** One word for both: a device that shows a code, or a command that waits for its owner. */
async function approve({ nodes, session, by }: NodeCaller, params: unknown): Promise<object> {
  const { code } = NodeCodeParams.parse(params);
  const device = await nodes.devices.approve(session, code);
  if (!device) {
    const approval = nodes.answer(session, code, { decision: "accept", by });
    return { approved: "command", approval, by };
  }
  const { id: nodeId, name: displayName, platform, sessions } = device;
  const names = sessions.map(({ name }) => name);
  return { approved: "device", device: { nodeId, displayName, platform, sessions: names } };
}
