import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { errorMessage } from "#lib/errors.ts";
import { CHANNELS_PATH } from "#protocol/channel.ts";
import { CLOSE } from "#protocol/client.ts";
import { Attachment } from "./attachment.ts";
import { requestToken, subProtocol } from "./auth.ts";
import { AdapterConnection } from "./channels/adapter-connection.ts";
import { chooseSession } from "./choice.ts";
import { type ClientHandler, ClientSocket } from "./client-socket.ts";
import type { GatewayContext } from "./context.ts";
import { establish } from "./establish.ts";

/** RFC 6455 §1.3. */
const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MAX_CLIENTS = 20_000;
/** A refused peer may take this long to close its end. */
const REFUSED_LINGER_MS = 2000;

/** Answers an upgrade request: a WebSocket on `/ws` or, for adapters, on `/channels/ws`, or an HTTP error. */
export function upgrade(
  context: GatewayContext,
  request: IncomingMessage,
  { socket, head }: { socket: Socket; head: Buffer },
): void {
  // A target such as `//` is no URL.
  const url = URL.parse(request.url ?? "/", "http://gateway");
  const refusal = refuseUpgrade(context, request, url?.pathname);
  if (refusal || !url) return endUpgrade(socket, refusal ?? "400 Bad Request");
  const key = String(request.headers["sec-websocket-key"]);
  socket.write(acceptance(key, subProtocol(request.headers["sec-websocket-protocol"])?.answer));
  const asked = { headers: request.headers, query: url.searchParams };
  const choose = url.pathname === CHANNELS_PATH ? chooseAdapter : chooseAttachment;
  void attach(context, { socket, head }, () => choose(context, asked));
}

/** Answers an upgrade with an HTTP error and lets go of the socket, whether its peer reads and closes or not. */
export function endUpgrade(socket: Socket, status: string): void {
  const timer = setTimeout(() => socket.destroy(), REFUSED_LINGER_MS);
  socket.on("error", () => {});
  socket.once("close", () => clearTimeout(timer));
  // Unread, its end would never be seen.
  socket.resume();
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function refuseUpgrade(
  { liveness, signal }: GatewayContext,
  { method, headers }: IncomingMessage,
  path: string | undefined,
): string | undefined {
  if (path !== "/ws" && path !== CHANNELS_PATH) return "404 Not Found";
  if (method !== "GET" || headers.upgrade?.toLowerCase() !== "websocket") return "400 Bad Request";
  if (headers["sec-websocket-version"] !== "13") {
    return "426 Upgrade Required\r\nSec-WebSocket-Version: 13";
  }
  if (!/^[A-Za-z0-9+/]{22}==$/.test(headers["sec-websocket-key"] ?? "")) return "400 Bad Request";
  if (signal.aborted || liveness.size >= MAX_CLIENTS) {
    return "503 Service Unavailable\r\nRetry-After: 5";
  }
  return undefined;
}

function acceptance(key: string, protocol: string | undefined): string {
  const accept = createHash("sha1")
    .update(key + ACCEPT_SUFFIX)
    .digest("base64");
  const lines = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${accept}`,
    ...(protocol ? [`Sec-WebSocket-Protocol: ${protocol}`] : []),
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

interface ClientRequest {
  headers: IncomingMessage["headers"];
  query: URLSearchParams;
}

/** From the open WebSocket to whoever serves it; what the client sends meanwhile waits. */
async function attach(
  context: GatewayContext,
  { socket, head }: { socket: Socket; head: Buffer },
  choose: () => Promise<Chosen>,
): Promise<void> {
  socket.pause();
  socket.on("error", () => {});
  const chosen = await choose().catch((error: unknown) => {
    context.logger.warn({ error: errorMessage(error) }, "session not provided");
    return { code: CLOSE.internal, reason: "The session cannot be provided now: try again later" };
  });
  if (socket.destroyed) return;
  const handler = "handler" in chosen ? chosen.handler : silent;
  const client = new ClientSocket(socket, handler);
  context.liveness.add(client);
  socket.once("close", () => context.liveness.delete(client));
  if (!("handler" in chosen)) return client.close(chosen.code, chosen.reason);
  const { start } = chosen;
  chosen.handler.bind(client);
  if (context.signal.aborted) return client.close(CLOSE.goingAway, STOPPING);
  const running = start();
  client.begin(head);
  client.resume();
  await running;
}

export const STOPPING = "The gateway stops: reconnect with session, boot and after";

/** A client that is only told why it cannot stay. */
const silent: ClientHandler = {
  accept: () => false,
  lines: () => true,
  forwarded: true,
  drained: () => {},
  closed: () => {},
  tick: () => {},
};

type Chosen =
  | { handler: ClientHandler & { bind(client: ClientSocket): void }; start: () => Promise<void> }
  | { code: number; reason: string };

async function chooseAdapter(
  context: GatewayContext,
  { headers, query }: ClientRequest,
): Promise<Chosen> {
  const isAdapter = await context.auth.adapter(requestToken(headers, query));
  if (!isAdapter) return { code: CLOSE.policy, reason: "Unauthorized" };
  return { handler: new AdapterConnection(context), start: async () => {} };
}

async function chooseAttachment(
  context: GatewayContext,
  { headers, query }: ClientRequest,
): Promise<Chosen> {
  const credential = await context.auth.person(requestToken(headers, query));
  if (credential.state !== "valid") return { code: CLOSE.policy, reason: "Unauthorized" };
  const { principal } = credential;
  const choice = await chooseSession(context, principal, query.get("session")?.trim() || undefined);
  if ("refused" in choice) return choice.refused;
  const resume = resumePoint(query);
  const attachment = new Attachment({ context, principal, ...choice });
  const options = { context, attachment, principal, session: choice.session };
  return { handler: attachment, start: () => establish(resume ? { ...options, resume } : options) };
}

/** Where a returning client wants to go on; both parts or neither. */
function resumePoint(query: URLSearchParams): { boot: string; after: number } | undefined {
  const boot = query.get("boot");
  const after = Number(query.get("after") ?? Number.NaN);
  if (!boot || boot.length > 64 || !Number.isSafeInteger(after) || after < 0) return undefined;
  return { boot, after };
}
