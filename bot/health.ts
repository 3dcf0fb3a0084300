import { once } from "node:events";
import { createServer } from "node:http";

/** What the bot waits for, a sentence each; empty = it takes and sends messages. */
export class BotHealth {
  readonly #reasons = new Map<string, string>([
    ["telegram", "Telegram has not answered yet."],
    ["gateway", "The gateway has not answered yet."],
  ]);

  get reasons(): string[] {
    return [...this.#reasons.values()];
  }

  /** `reason` undefined = all is well with it. */
  set(what: "telegram" | "gateway", reason: string | undefined): void {
    if (reason === undefined) this.#reasons.delete(what);
    else this.#reasons.set(what, reason);
  }
}

/** Serves /livez and /readyz until the signal aborts. Throws when the address is taken. */
export async function serveHealth(
  { host, port }: { host: string; port: number },
  health: BotHealth,
  signal: AbortSignal,
): Promise<void> {
  const server = createServer(({ url }, response) => {
    const reasons = url === "/readyz" ? health.reasons : [];
    const isKnown = url === "/livez" || url === "/readyz";
    response.writeHead(isKnown ? (reasons.length > 0 ? 503 : 200) : 404);
    response.end(isKnown ? `${reasons.join("\n") || "ok"}\n` : "paths: /livez /readyz\n");
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
