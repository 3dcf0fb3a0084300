import { WebSocket } from "ws";
import { backoffMs, type Clock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import { CLOSE } from "#protocol/client.ts";
import { Envelope } from "#protocol/envelope.ts";

export interface LinkOptions {
  url: string;
  token: string;
  clock: Clock;
  /** Query of the next connection: session, boot, after. */
  query: () => Record<string, string | undefined>;
  onFrame: (message: Envelope) => void;
  /** Called after each lost connection, before the pause. */
  onClosed: (reason: { tooBig: boolean; text: string }) => void;
  /** The first connection must succeed; give up when a later one takes longer than this; undefined = never. */
  giveUpMs?: number;
}

export interface Link {
  send(message: Envelope): void;
  /** Rejects when the gateway refuses for good or cannot be reached; resolves after the signal. */
  closed: Promise<void>;
}

interface End {
  code: number;
  reason: string;
  /** When the first frame arrived (ms); absent = none did. */
  servedAt?: number;
  error?: Error;
}

const MAX_FRAME_BYTES = 64 * 1024 * 1024;
const HANDSHAKE_MS = 15_000;
/** A connection that served for this long was a good one: the pauses between dials begin anew. */
const STABLE_MS = 10_000;
/** Without a sign of life for this long the connection is taken for dead. */
const SILENCE_MS = 60_000;

/** A connection to `/ws` that comes back by itself until the signal. */
export function openLink(options: LinkOptions, signal: AbortSignal): Link {
  let socket: WebSocket | undefined;
  const connect = () => {
    socket = new WebSocket(addressOf(options), {
      headers: { authorization: `Bearer ${options.token}` },
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: HANDSHAKE_MS,
      perMessageDeflate: false,
    });
    return socket;
  };
  const send = (message: Envelope) => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
  return { send, closed: keepConnected(options, connect, signal) };
}

async function keepConnected(
  options: LinkOptions,
  connect: () => WebSocket,
  signal: AbortSignal,
): Promise<void> {
  let attempt = 0;
  let everServed = false;
  let lostAt = options.clock.now();
  while (!signal.aborted) {
    const end = await serve(connect(), options, signal);
    if (signal.aborted) return;
    if (end.servedAt !== undefined) {
      everServed = true;
      lostAt = options.clock.now();
      if (lostAt - end.servedAt >= STABLE_MS) attempt = 0;
    }
    const silentMs = options.clock.now() - lostAt;
    throwIfFinal(end, options, { everServed, silentMs });
    const pauseMs = backoffMs(attempt++, { baseMs: 200, maxMs: 5_000 });
    options.onClosed({ tooBig: end.code === CLOSE.tooBig, text: textOf(end) });
    await options.clock.sleep(pauseMs, signal).catch(() => undefined);
  }
}

/** Serves one connection to its end. */
function serve(
  socket: WebSocket,
  { onFrame, clock }: LinkOptions,
  signal: AbortSignal,
): Promise<End> {
  return new Promise((resolve) => {
    let served: { servedAt?: number } = {};
    let error: Error | undefined;
    const stop = () => socket.close(CLOSE.normal);
    const watchdog = watchSilence(socket);
    socket.on("message", (bytes: Buffer) => {
      served = { servedAt: served.servedAt ?? clock.now() };
      const message = parseFrame(bytes.toString("utf8"));
      if (message) onFrame(message);
    });
    socket.on("error", (cause) => {
      error = cause;
    });
    socket.on("close", (code, reason) => {
      watchdog();
      signal.removeEventListener("abort", stop);
      resolve({ code, reason: reason.toString(), ...served, ...(error ? { error } : {}) });
    });
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
  });
}

/** Pings; cuts a connection whose other end is silent. Returns the end of the watch. */
function watchSilence(socket: WebSocket): () => void {
  let alive = true;
  const seen = () => {
    alive = true;
  };
  socket.on("pong", seen).on("message", seen).on("open", seen);
  const timer = setInterval(() => {
    if (!alive) socket.terminate();
    alive = false;
    if (socket.readyState === WebSocket.OPEN) socket.ping();
  }, SILENCE_MS / 2);
  return () => clearInterval(timer);
}

function parseFrame(text: string): Envelope | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const parsed = Envelope.safeParse(value);
    return parsed.data;
  } catch {
    return undefined;
  }
}

function throwIfFinal(
  end: End,
  { url, query, giveUpMs = Number.POSITIVE_INFINITY }: LinkOptions,
  { everServed, silentMs }: { everServed: boolean; silentMs: number },
): void {
  const refusal = refusalOf(end, url, query().session);
  if (refusal) throw refusal;
  if (!everServed || silentMs > giveUpMs) throw unreachable(url, end);
}

/** The gateway's final words, where it said no. */
function refusalOf(
  { code, reason, error }: End,
  url: string,
  session = "main",
): ArgusError | undefined {
  if (code === CLOSE.policy && reason.startsWith("Unknown session")) {
    const hint = `\`argus sessions\` lists them, \`argus sessions create ${session}\` makes it`;
    return new ArgusError("NotFound", `no session ${session}: ${hint}`);
  }
  if (code === CLOSE.policy || / 40[13]$/.test(error?.message ?? "")) {
    const why = reason || "not let in";
    const hint = "(--token, ARGUS_TOKEN)";
    return new ArgusError(
      "Unauthorized",
      `${why}: the gateway at ${url} refuses this token ${hint}`,
    );
  }
  if (code !== CLOSE.normal) return undefined;
  return new ArgusError("Unavailable", `the gateway ended the session: ${reason}`);
}

function unreachable(url: string, end: End): ArgusError {
  return new ArgusError(
    "Unavailable",
    `the gateway at ${url} cannot be reached (${textOf(end)}). Is \`argus up\` running?`,
  );
}

const textOf = ({ code, reason, error }: End) => error?.message || reason || `closed with ${code}`;

function addressOf({ url, query }: LinkOptions): URL {
  const address = new URL(`${url.replace(/^http/, "ws")}/ws`);
  for (const [name, value] of Object.entries(query())) {
    if (value !== undefined) address.searchParams.set(name, value);
  }
  return address;
}
