import type { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { CHANNEL_FILE, GetOutResult } from "#protocol/channel-files.ts";

/** Asks the gateway until there is an answer. */
type Ask = <T>(method: string, params: unknown, result: z.ZodType<T>) => Promise<T>;

/**
 * The bytes of a file that the answer names, from the workspace of the session that speaks. Throws `NotFound` with words for
 * the person, `Conflict` when the delivery is not held any more or the file changed on the way.
 */
export async function* takeOut(
  ask: Ask,
  { deliveryId, path }: { deliveryId: string; path: string },
): AsyncGenerator<Buffer> {
  let version: string | undefined;
  for (let offset = 0; ; ) {
    const piece = await ask(CHANNEL_FILE.get, { deliveryId, path, offset }, GetOutResult);
    version ??= piece.version;
    if (piece.version !== version) {
      throw new ArgusError("Conflict", `${path} was changed while it was being sent.`, { path });
    }
    const bytes = Buffer.from(piece.data, "base64");
    if (bytes.length > 0) yield bytes;
    offset += bytes.length;
    if (bytes.length === 0 || offset >= piece.bytes) return;
  }
}
