import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { MAX_INVOKE_MS, type NodeAnswer } from "#protocol/node-methods.ts";
import { QueueForMs } from "#protocol/queued-call.ts";
import { failure, type ToolCall, type ToolResult, tool } from "../tool.ts";

/** Between two words about a call that has no answer yet. */
const PROGRESS_MS = 5000;

const node = z
  .string()
  .min(1)
  .max(256)
  .describe("Id or name of a node from nodes_list; `self` is this session's own container")
  .optional();
const jobId = z.string().min(1).max(128);

/** `nodes_list`: the devices that the caller's own session may use. */
export const nodesList = tool({
  name: "nodes_list",
  title: "Nodes",
  description:
    "Lists the devices that this session may run commands on (`connected` tells which are there), with the commands that each knows.",
  input: z.strictObject({}),
  run: async (_, { context, session }) => ({
    structured: { nodes: context.nodes.list(session) },
  }),
});

/** `node_invoke`: one command on one of them. */
export const nodeInvoke = tool({
  name: "node_invoke",
  title: "Run a command on a node",
  description: [
    'Asks a node. system.run {"argv":["ls","-l"],"cwd"?,"env"?,"stdinText"?,"yieldMs"?,"timeoutMs"?,"pty"?} runs a program (no shell) and answers',
    "with its output, or after yieldMs (default 10000) with a jobId while it runs on; its end then wakes this session.",
    'system.which {"bin"}, file.read {"path","offset"?,"maxBytes"?}, file.write {"path","dataBase64"}, file.list {"path"}.',
    "For running programs there are job_list, job_output, job_write and job_kill. The device's owner may be asked first.",
    "queueForMs: a device that is away gets the call when it comes back within that time; the answer is then queued:true and the end an event that wakes this session.",
    "Give an idempotencyKey to repeat a call whose outcome is not known: it starts nothing twice.",
  ].join(" "),
  input: z.strictObject({
    node,
    nodeId: node,
    command: z.string().min(1).max(256),
    params: z.record(z.string(), z.unknown()).nullish(),
    timeoutMs: z.number().min(1).max(MAX_INVOKE_MS).nullish(),
    idempotencyKey: z.string().min(1).max(256).optional(),
    queueForMs: QueueForMs.nullish(),
  }),
  run: async (args, call) => {
    const { command, idempotencyKey, queueForMs } = args;
    return await invoke(call, {
      node: args.node ?? args.nodeId,
      command,
      params: args.params ?? {},
      ...(args.timeoutMs ? { timeoutMs: Math.ceil(args.timeoutMs) } : {}),
      ...(queueForMs ? { queueForMs } : {}),
      ...(idempotencyKey === undefined ? {} : { key: idempotencyKey }),
    });
  },
});

export const jobList = tool({
  name: "job_list",
  title: "Jobs",
  description:
    "Lists this session's programs on a node, running ones first, with how the ended ones ended; `queued`: calls that wait for a device, and how such ones ended.",
  input: z.strictObject({ node }),
  run: async (args, call) => {
    const queued = await call.context.nodes.queue.list(call.session);
    const jobs = await invoke(call, { ...args, command: "process.list", params: {} });
    return { ...jobs, structured: { ...jobs.structured, queued } };
  },
});

export const jobWrite = tool({
  name: "job_write",
  title: "Write to a job",
  description:
    "Appends text to the stdin of a job that was started with stdin: true. `offset` = the bytes written before; with it a repeat adds nothing twice. `close` ends stdin.",
  input: z.strictObject({
    node,
    jobId,
    text: z
      .string()
      .max(256 * 1024)
      .default(""),
    offset: z.int().min(0).optional(),
    close: z.boolean().default(false),
  }),
  run: ({ text, node: name, ...rest }, call) => {
    const params = { ...rest, dataBase64: Buffer.from(text).toString("base64") };
    return invoke(call, { node: name, command: "process.write", params });
  },
});

export const jobKill = tool({
  name: "job_kill",
  title: "End a job",
  description:
    "Ends a job with everything it started: SIGTERM, then SIGKILL after 1.5 s. With the callId of a queued call as jobId that call is cancelled.",
  input: z.strictObject({ node, jobId }),
  run: async ({ node: name, ...params }, call) => {
    const { context, session } = call;
    const rows = await context.nodes.queue.list(session);
    const isOpen = rows.some(({ callId, endedAtMs }) => callId === params.jobId && !endedAtMs);
    if (!isOpen) return await invoke(call, { node: name, command: "process.kill", params });
    return {
      structured: { ok: true, call: await context.nodes.queue.cancel(session, params.jobId) },
    };
  },
});

interface Wanted {
  node?: string | undefined;
  command: string;
  params: Record<string, unknown>;
  timeoutMs?: number;
  queueForMs?: number;
  key?: string;
}

async function invoke(call: ToolCall, { key, ...wanted }: Wanted): Promise<ToolResult> {
  const { context, session, signal, callId, progress } = call;
  const words = `${wanted.command} on ${wanted.node ?? "self"}`;
  const timer = setInterval(() => progress(`waits for ${words}`), PROGRESS_MS);
  const unwatch = context.nodes.watchApprovals({
    asked: ({ session: { metadata }, row: { nodeId, summary } }) => {
      if (metadata.uid !== session.metadata.uid) return;
      progress(`the owner of ${nodeId} is asked whether this may run: ${summary.slice(0, 200)}`);
    },
  });
  try {
    const named = key === undefined ? `mcp/${callId}` : `key/${key}`;
    const asked = { ...wanted, node: wanted.node, callId: named, by: "agent", signal } as const;
    return told(await context.nodes.invoke(session, asked));
  } catch (error) {
    if (!(error instanceof ArgusError)) throw error;
    if (error.code === "Busy") return failure("BUSY", error.message, { node: wanted.node });
    const code = error.code === "NotFound" ? "NODE_NOT_FOUND" : "INVALID_ARGUMENT";
    return failure(code, error.message, { node: wanted.node ?? "self" });
  } finally {
    unwatch();
    clearInterval(timer);
  }
}

const told = ({ ok, nodeId, command, payload, error }: NodeAnswer): ToolResult => ({
  structured: { ok, nodeId, command, payload: payload ?? null, error },
  ...(ok ? {} : { isError: true }),
});
