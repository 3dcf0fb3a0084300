import { ArgusError } from "#lib/errors.ts";
import type { GatewayDocument } from "#protocol/document.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { Store } from "../store/store.ts";
import { UnreadableDocument } from "../store/unreadable.ts";
import { understood } from "./document.ts";
import { GATEWAY_KIND, GATEWAY_UID } from "./gateway-state.ts";
import { sessionKind } from "./session-state.ts";

/** Bridges may have seen higher epochs than a backup knows: each of its restores begins far above. */
const EPOCHS_SINCE_BACKUP = 1_000_000;

/** A document as a person asks for it. */
export interface Summary {
  /** Of its session; of the gateway document `(gateway)`. */
  name: string;
  /** Messages and events that wait or run, deliveries that are not sent, calls that wait for their device. */
  open: number;
  /** Nobody has ever written to it. */
  isUntouched: boolean;
}

/** What a document is about. Throws `UnreadableDocument` when this version does not understand it. */
export function summaryOf(uid: string, body: unknown): Summary {
  if (uid === GATEWAY_UID) {
    understood(GATEWAY_KIND, uid, body);
    return { name: "(gateway)", open: 0, isUntouched: false };
  }
  const document = understood(sessionKind(nameIn(body)), uid, body);
  const { inputs, events, deliveries, calls } = document;
  const open = inputs.length + events.length + deliveries.length + calls.length;
  return { name: document.name, open, isUntouched: isUntouched(document, open) };
}

function nameIn(body: unknown): string {
  const named = typeof body === "object" && body !== null && "name" in body ? body.name : undefined;
  return typeof named === "string" ? named : "(no name)";
}

function isUntouched(document: SessionDocument, open: number): boolean {
  const { ended, endedEvents, endedDeliveries, endedCalls, turn, mainThread } = document;
  const past = [ended, endedEvents, endedDeliveries, endedCalls].flat().length;
  return open + past === 0 && turn === null && mainThread === null;
}

/** A backup of the gateway document in the place of `current`: epochs never go back, and keys that pods know stay. */
export function restoredGateway(
  current: GatewayDocument | undefined,
  backup: GatewayDocument,
): GatewayDocument {
  if (!current) return { ...backup, epoch: backup.epoch + EPOCHS_SINCE_BACKUP };
  return { ...backup, epoch: Math.max(current.epoch, backup.epoch), keys: current.keys };
}

/** A backup in its place loses nothing: nobody has written to it, or what is there cannot be read. */
export async function isFree(store: Pick<Store, "read">, uid: string): Promise<boolean> {
  try {
    const stored = await store.read(uid);
    return !stored || summaryOf(uid, stored.body).isUntouched;
  } catch (error) {
    if (error instanceof UnreadableDocument) return true;
    throw error;
  }
}

/** Throws `Conflict` unless a person said that what is there may go. */
export function demandReplace(replace: boolean, name: string): void {
  if (replace) return;
  const message = `${name} has a state of its own: nothing of it was changed. --replace puts the backup in its place.`;
  throw new ArgusError("Conflict", message);
}
