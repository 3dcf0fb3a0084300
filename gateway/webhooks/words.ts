import { ArgusError } from "#lib/errors.ts";
import { MAX_EVENT_BYTES } from "#protocol/lane-entry.ts";
import { cutText } from "../state/room.ts";

/** What the agent is told of a webhook: its body as text, cut where an event ends. Throws `InvalidInput` for what is no text. Pure. */
export function webhookWords({ name, type }: { name: string; type: string }, body: Buffer): string {
  const text = decoded(body);
  if (text.trim() === "")
    throw new ArgusError("InvalidInput", "The body is empty: there is nothing to tell.");
  const head = type === "" ? `Webhook ${name}` : `Webhook ${name} (${type})`;
  return cutText(`${head}: ${text}`, MAX_EVENT_BYTES, `… (cut: the body has ${body.length} bytes)`);
}

function decoded(body: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new ArgusError("InvalidInput", "The body is not UTF-8 text: send JSON or plain text.");
  }
}
