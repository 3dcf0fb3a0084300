import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

export interface McpServerProcess {
  url: string;
  /** Headers of each request with the key. */
  requests: IncomingHttpHeaders[];
  close(): Promise<void>;
}

/**
 * Somebody's MCP server with one tool, as the SDK makes it; without the header `x-key` nobody gets in. Its first answer takes `startMs`: it had to
 * be woken.
 */
export async function startMcpServer({
  key,
  host = "127.0.0.1",
  startMs = 0,
}: {
  key: string;
  host?: string;
  startMs?: number;
}): Promise<McpServerProcess> {
  const requests: IncomingHttpHeaders[] = [];
  let awake: Promise<void> | undefined;
  const http = createServer((request, response) => {
    if (request.headers["x-key"] !== key) {
      response.writeHead(401).end("who are you?");
      return;
    }
    requests.push(request.headers);
    const server = new McpServer({ name: "tickets", version: "1" });
    const inputSchema = { id: z.number() };
    server.registerTool("lookup", { description: "Looks a ticket up", inputSchema }, ({ id }) => ({
      content: [{ type: "text", text: `ticket ${id} is open` }],
    }));
    const transport = new StreamableHTTPServerTransport({});
    response.once("close", () => void server.close());
    awake ??= delay(startMs);
    void Promise.all([server.connect(transport as never), awake]).then(() =>
      transport.handleRequest(request, response),
    );
  });
  await new Promise<void>((resolve) => http.listen(0, host, resolve));
  const { port } = http.address() as AddressInfo;
  return {
    url: `http://${host}:${port}/mcp`,
    requests,
    close: async () => {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}
