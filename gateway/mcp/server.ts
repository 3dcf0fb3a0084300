import type { IncomingMessage, ServerResponse } from "node:http";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { CallToolResult, ServerNotification } from "@modelcontextprotocol/sdk/types.js";
import { errorMessage } from "#lib/errors.ts";
import type { Tool, ToolCall, ToolResult } from "./tool.ts";
import { failed } from "./tool.ts";
import type { Withdrawals } from "./withdrawals.ts";

// Loaded at the first call: the SDK takes some 30 MB, and an installation without agents' tools needs none of it.

/** One HTTP exchange with an agent's MCP client. */
export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  body: unknown;
  /** Whether the answer may be an event stream: progress needs one, and it keeps idle connections alive. */
  asStream: boolean;
  /** What the client withdraws, by the call's id. */
  withdrawn: Withdrawals;
}

/** Of a {@link ToolCall} what is the same for the whole exchange. */
export type Caller = Pick<ToolCall, "context" | "session"> & { mcpSession: string };

const INSTRUCTIONS =
  "Tools of this session: commands on its devices and in its own container (node `self`), schedules, its chat. Report job ids of long commands instead of waiting for them.";

/** Serves one request with a server of its own: nothing of it outlives the answer, so a restarted gateway serves the next one. */
export async function serveExchange(
  tools: readonly Tool[],
  caller: Caller,
  { request, response, body, asStream, withdrawn }: Exchange,
): Promise<void> {
  const server = new McpServer(
    { name: "argus_gateway", title: "Argus", version: "0.1.0" },
    { capabilities: { tools: { listChanged: false } }, instructions: INSTRUCTIONS },
  );
  for (const each of tools) register(server, each, { caller, withdrawn });
  const transport = new StreamableHTTPServerTransport({ enableJsonResponse: !asStream });
  response.once("close", () => void server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response, body);
}

function register(
  server: McpServer,
  each: Tool,
  { caller, withdrawn }: { caller: Caller; withdrawn: Withdrawals },
): void {
  const { name, title, description, input } = each;
  server.registerTool(name, { title, description, inputSchema: input }, async (args, extra) => {
    const token = extra._meta?.progressToken;
    let step = 0;
    const progress = (message: string) => {
      if (token === undefined) return;
      step += 1;
      const params = { progressToken: token, progress: step, message };
      const notification: ServerNotification = { method: "notifications/progress", params };
      extra.sendNotification(notification).catch(() => undefined);
    };
    const { context, session, mcpSession } = caller;
    const callId = `${mcpSession}/${String(extra.requestId)}`;
    return await withdrawn.during(callId, async (signal) =>
      answerOf(await run(each, args, { context, session, callId, signal, progress })),
    );
  });
}

async function run(each: Tool, args: Record<string, unknown>, call: ToolCall): Promise<ToolResult> {
  try {
    return await each.run(args, call);
  } catch (error) {
    const facts = {
      tool: each.name,
      session: call.session.metadata.name,
      error: errorMessage(error),
    };
    call.context.logger.warn(facts, "an agent's tool call failed");
    return failed(error);
  }
}

function answerOf({ structured, isError }: ToolResult): CallToolResult {
  const content = [{ type: "text" as const, text: JSON.stringify(structured) }];
  return { content, structuredContent: structured, ...(isError ? { isError } : {}) };
}
