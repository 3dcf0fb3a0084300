import { WebSocket } from "ws";
import { ArgusError } from "#lib/errors.ts";

export interface Link {
  send(frame: object): void;
  /** Resolves when the socket has taken the bytes, or is gone. */
  binary(bytes: Buffer): Promise<void>;
  close(): void;
  /** Why it ended; never rejects. */
  closed: Promise<{ code: number; reason: string }>;
}

export interface DialOptions {
  url: string;
  token: string | undefined;
  /** A text frame, parsed; what is no JSON object is dropped. */
  onFrame: (frame: Record<string, unknown>) => void;
}

/** One frame of the gateway. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;
const HANDSHAKE_MS = 15_000;
/** Below the 60 s at which proxies cut idle connections. */
const PING_MS = 15_000;

/** Connects once. Throws ArgusError Unavailable; a connection without a sign of life for two pings is cut. */
export function dial({ url, token, onFrame }: DialOptions, signal: AbortSignal): Promise<Link> {
  const socket = new WebSocket(url, {
    handshakeTimeout: HANDSHAKE_MS,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    ...(isPrivateWay(url) ? { generateMask: noMask } : {}),
    ...(token ? { headers: { authorization: `Bearer ${token}` } } : {}),
  });
  const stop = () => socket.terminate();
  signal.addEventListener("abort", stop, { once: true });
  socket.on("message", (data: Buffer, isBinary: boolean) => {
    const frame = isBinary ? undefined : parse(data);
    if (frame) onFrame(frame);
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on("close", (code, reason) => {
      signal.removeEventListener("abort", stop);
      resolve({ code, reason: reason.toString("utf8") });
    });
  });
  keepAlive(socket);
  return new Promise((resolve, reject) => {
    socket.on("error", (cause) => {
      const facts = { url };
      reject(
        new ArgusError("Unavailable", `the gateway cannot be reached: ${cause.message}`, facts, {
          cause,
        }),
      );
    });
    socket.on("open", () => resolve(linkOf(socket, closed)));
  });
}

/** Masks keep proxies on the way from mistaking a frame's bytes for requests of their own; here none can read them. */
function isPrivateWay(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "wss:" || ["127.0.0.1", "[::1]", "localhost"].includes(hostname);
}

/** Zeros leave the bytes as they are: no copy of each frame. */
const noMask = (mask: Buffer) => void mask.fill(0);

function linkOf(socket: WebSocket, closed: Link["closed"]): Link {
  return {
    send: (frame) => socket.send(JSON.stringify(frame), () => undefined),
    binary: (bytes) => new Promise((resolve) => socket.send(bytes, () => resolve())),
    close: () => socket.close(1000),
    closed,
  };
}

function keepAlive(socket: WebSocket): void {
  let silent = 0;
  const alive = () => {
    silent = 0;
  };
  socket.on("message", alive);
  socket.on("ping", alive);
  socket.on("pong", alive);
  const timer = setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (silent++ >= 2) socket.terminate();
    else socket.ping();
  }, PING_MS);
  socket.on("close", () => clearInterval(timer));
}

function parse(data: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(data.toString("utf8"));
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
