import { ArgusError, errorMessage } from "#lib/errors.ts";
import { HelloRefusal, HelloResult, type PeerRole } from "#protocol/bridge.ts";
import { BridgeConnection } from "./bridge-connection.ts";
import type { KeyRing } from "./key-ring.ts";
import type { BridgeAddress } from "./pod.ts";
import type { PodTokens } from "./pod-tokens.ts";

const DIAL_TIMEOUT_MS = 10_000;

export interface DialOptions {
  address: BridgeAddress;
  role: PeerRole;
  /** Replay what came after this notification of this boot. */
  resume?: { boot: string; after: number };
  keys: KeyRing;
  podTokens: PodTokens;
}

/** A connection whose hello was answered. */
export type GreetedBridge = BridgeConnection & { hello: HelloResult };

/**
 * Connects to a pod's bridge, says hello, and makes sure that the answer comes from that very pod before anything else is sent.
 * Throws an ArgusError whose message says what a person can do; `facts.refusal` is the bridge's reason, if it refused.
 */
export async function dialBridge(
  options: DialOptions,
  signal: AbortSignal,
): Promise<GreetedBridge> {
  signal.throwIfAborted();
  const connection = new BridgeConnection(options.address);
  let late = false;
  const cut = () => connection.destroy();
  const timer = setTimeout(() => {
    late = true;
    cut();
  }, DIAL_TIMEOUT_MS);
  signal.addEventListener("abort", cut, { once: true });
  try {
    connection.hello = await greet(connection, options);
    signal.throwIfAborted();
    return connection as GreetedBridge;
  } catch (error) {
    connection.destroy();
    if (error instanceof ArgusError && !late) throw error;
    throw unreachable(options.address, late ? "no answer" : errorMessage(error), error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", cut);
  }
}

async function greet(
  connection: BridgeConnection,
  { address, role, resume, keys, podTokens }: DialOptions,
): Promise<HelloResult> {
  const token = await keys.helloToken(address.podUid, role);
  const hello = { id: 1, method: "bridge/hello", params: { token, role, ...resume } };
  const answer = parseAnswer(await connection.ask(JSON.stringify(hello)));
  if ("refusal" in answer) throw refused(address, answer.refusal);
  const identity = await podTokens.check(answer.result.podToken);
  // The token has done its work: it is not kept with the connection.
  if (identity?.podUid === address.podUid) return { ...answer.result, podToken: "" };
  throw new ArgusError(
    "Forbidden",
    "Something else than the session's pod answers at its address: nothing was sent to it.",
    { pod: address.podName, host: address.host },
  );
}

function parseAnswer(line: string): { result: HelloResult } | { refusal: HelloRefusal } {
  const { result, error } = jsonObject(line);
  const accepted = HelloResult.safeParse(result);
  if (accepted.success) return { result: accepted.data };
  const data = typeof error === "object" && error !== null && "data" in error ? error.data : {};
  const refusal = HelloRefusal.safeParse(data);
  return {
    refusal: refusal.success ? refusal.data : { reason: "malformed", now: Date.now() },
  };
}

function jsonObject(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** What each refusal means for the person who waits. */
function refused({ podName }: BridgeAddress, refusal: HelloRefusal): ArgusError {
  const skewMs = refusal.now - Date.now();
  const words: Record<HelloRefusal["reason"], string> = {
    time: `The clocks of the gateway and of the pod's node differ by ${Math.round(Math.abs(skewMs) / 1000)} s: correct the one that is wrong.`,
    signature: "The pod does not know the gateway's key yet; a new key reaches it within minutes.",
    audience: "Another pod answers at the session's address; waiting for the right one.",
    epoch: "A newer gateway serves this session: connect to that one.",
    role: "The bridge does not take the gateway's hello for this role: their versions do not fit.",
    used: "The gateway's hello was used before; the next dial signs a fresh one.",
    busy: "The session's pod has too many connections already; it is tried again.",
    malformed: "The bridge does not understand the gateway's hello: their versions do not fit.",
  };
  return new ArgusError("Unauthorized", words[refusal.reason], {
    pod: podName,
    refusal: refusal.reason,
    ...(refusal.reason === "time" ? { skewMs } : {}),
  });
}

function unreachable(
  { podName, host, port }: BridgeAddress,
  why: string,
  cause: unknown,
): ArgusError {
  return new ArgusError(
    "Unavailable",
    `The bridge of the session's pod is not reachable (${why}).`,
    { pod: podName, host, port },
    { cause },
  );
}
