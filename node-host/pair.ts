import type { KeyObject } from "node:crypto";
import { createPublicKey } from "node:crypto";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import {
  NodeEvent,
  PairChallenge,
  PairConfirmed,
  PairPending,
  PairRefused,
} from "#protocol/node.ts";
import { dial, type Link } from "./connection.ts";
import { type Credentials, proofOf, publicKeyOf } from "./identity.ts";

export interface PairOptions {
  url: string;
  nodeId: string;
  displayName: string;
  key: KeyObject;
  /** Shows the code to the person; called again when it changes. */
  showCode: (code: string, expiresInMs: number) => void;
  backoff?: { baseMs: number; maxMs: number };
}

type Outcome = { credentials: Credentials } | { refused: string } | undefined;
const BACKOFF = { baseMs: 1000, maxMs: 30_000 };
/** Ends without a word before the person is told that this gateway cannot pair. */
const MAX_SILENT_ENDS = 5;

/**
 * Asks the gateway to take this device in, until its owner has confirmed the code; a cut connection is made again and shows the
 * same code. Throws Forbidden when it was refused, Unavailable when the gateway does not answer pairing requests.
 */
export async function pair(options: PairOptions, signal: AbortSignal): Promise<Credentials> {
  let shown = "";
  const showCode = (code: string, expiresInMs: number) => {
    if (code !== shown) options.showCode(code, expiresInMs);
    shown = code;
  };
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted();
    const outcome = await pairOnce({ ...options, showCode }, signal);
    if (outcome && "credentials" in outcome) return outcome.credentials;
    if (outcome) throw new ArgusError("Forbidden", `pairing was refused: ${outcome.refused}`);
    if (!shown && attempt + 1 >= MAX_SILENT_ENDS)
      throw new ArgusError("Unavailable", `${options.url} does not answer pairing requests`);
    await systemClock.sleep(
      backoffMs(attempt, { ...(options.backoff ?? BACKOFF), jitter: 0.5 }),
      signal,
    );
  }
}

async function pairOnce(options: PairOptions, signal: AbortSignal): Promise<Outcome> {
  let outcome: Outcome;
  let link: Link | undefined;
  const onFrame = (frame: Record<string, unknown>) => {
    const parsed = NodeEvent.safeParse(frame);
    if (!parsed.success || !link) return;
    outcome = answer(options, link, parsed.data) ?? outcome;
    if (outcome) link.close();
  };
  try {
    link = await dial({ url: options.url, token: undefined, onFrame }, signal);
    const { nodeId, displayName, key } = options;
    const publicKey = publicKeyOf(createPublicKey(key));
    link.send({ type: "pair.request", nodeId, displayName, platform: process.platform, publicKey });
    await link.closed;
  } catch (error) {
    if (!(error instanceof ArgusError && error.code === "Unavailable")) throw error;
  }
  return outcome;
}

function answer({ url, key, showCode }: PairOptions, link: Link, frame: NodeEvent): Outcome {
  const { event, payload } = frame;
  if (event === "pair.challenge") {
    const signature = proofOf(key, PairChallenge.parse(payload).nonce);
    link.send({ type: "event", event: "pair.proof", payload: { signature } });
  } else if (event === "pair.pending") {
    const { code, expiresInMs } = PairPending.parse(payload);
    showCode(code, expiresInMs);
  } else if (event === "pair.confirmed") {
    const { nodeId, token } = PairConfirmed.parse(payload);
    return { credentials: { url, nodeId, token } };
  } else if (event === "pair.refused") return { refused: PairRefused.parse(payload).reason };
  return undefined;
}
