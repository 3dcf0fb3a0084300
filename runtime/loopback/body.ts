import type { IncomingMessage } from "node:http";
import { ArgusError } from "#lib/errors.ts";

/** Of one request; a whole conversation with pictures fits. */
export const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** Of all requests that are under way. */
const MAX_TOTAL_BYTES = 128 * 1024 * 1024;

/** Keeps request bodies, which may have to be sent again, within one bound for all. */
export class BodyBudget {
  #used = 0;

  /**
   * Reads the body, hands it to `use` and frees it. Throws TooLarge (more than 64 MiB), Busy (too much under way) or
   * what the stream or `use` throws.
   */
  async with<T>(request: IncomingMessage, use: (body: Buffer) => Promise<T>): Promise<T> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      this.#check(Number(request.headers["content-length"] ?? 0));
      // Not destroyed on a throw: the refusal still has to be written to the same connection.
      for await (const read of request.iterator({ destroyOnReturn: false })) {
        const chunk = read as Buffer;
        bytes += chunk.length;
        this.#used += chunk.length;
        this.#check(bytes);
        chunks.push(chunk);
      }
      return await use(Buffer.concat(chunks));
    } finally {
      this.#used -= bytes;
    }
  }

  #check(bytes: number): void {
    if (bytes > MAX_BODY_BYTES) {
      throw new ArgusError("TooLarge", `the request has more than ${MAX_BODY_BYTES} bytes`);
    }
    if (this.#used > MAX_TOTAL_BYTES) {
      throw new ArgusError("Busy", "too many large requests are under way; try again");
    }
  }
}
