import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { remember } from "#lib/remember.ts";

/** Ended MCP sessions that are remembered; an older one would be taken for a living one. */
const MAX_ENDED = 10_000;

/**
 * Ids of MCP sessions. An id carries its proof, so that a gateway that was started again still knows it; what it names is only
 * the identity of repeated calls. It opens nothing: each request brings its token.
 */
export class McpSessions {
  readonly #secret: string;
  readonly #ended = new Map<string, true>();

  constructor(secret: string) {
    this.#secret = secret;
  }

  create(session: string): string {
    const random = randomBytes(16).toString("hex");
    return `${random}${this.#proof(random, session)}`;
  }

  isLive(id: string, session: string): boolean {
    if (!/^[0-9a-f]{64}$/.test(id) || this.#ended.has(id)) return false;
    const proof = this.#proof(id.slice(0, 32), session);
    return timingSafeEqual(Buffer.from(proof), Buffer.from(id.slice(32)));
  }

  end(id: string): void {
    remember(this.#ended, id, true, MAX_ENDED);
  }

  #proof(random: string, session: string): string {
    const text = `mcp-session ${session} ${random}`;
    return createHmac("sha256", this.#secret).update(text).digest("hex").slice(0, 32);
  }
}
