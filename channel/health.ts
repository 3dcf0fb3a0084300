import { once } from "node:events";
import { createServer } from "node:http";

/** Serves /livez and /readyz until the signal aborts; `reasons`: why it is not ready, a sentence each. Throws when the address is taken. */
export async function serveHealth(
  { host, port }: { host: string; port: number },
  reasons: () => string[],
  signal: AbortSignal,
): Promise<void> {
  const server = createServer(({ url }, response) => {
    const now = url === "/readyz" ? reasons() : [];
    const isKnown = url === "/livez" || url === "/readyz";
    response.writeHead(isKnown ? (now.length > 0 ? 503 : 200) : 404);
    response.end(isKnown ? `${now.join("\n") || "ok"}\n` : "paths: /livez /readyz\n");
  });
  server.requestTimeout = 10_000;
  server.listen(port, host);
  await once(server, "listening", { signal });
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  signal.addEventListener("abort", close, { once: true });
}
