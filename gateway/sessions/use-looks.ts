import type { ArgusSession } from "#crds/kinds.ts";
import type { Clock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Directory } from "../directory.ts";
import type { Use } from "./use.ts";

/** Without a line of a client for this long its bridge is asked whether anything runs. */
const QUIET_MS = 10_000;
/** A line that was on its way while the bridge was asked shows by then, long before anybody is suspended for it. */
const ASK_AGAIN_MS = 12_000;

export interface UseLooksOptions {
  directory: Directory;
  /** Whether anything runs in the session's pod. Throws when that cannot be told. */
  isBridgeUsed: (session: ArgusSession, signal: AbortSignal) => Promise<boolean>;
  logger: Logger;
  clock: Clock;
}

interface Look {
  /** Lines when the bridge was about to be asked, and when. */
  asked?: { lines: number; at: number };
  /** The bridge is asked once more, after its "no". */
  againAt?: number;
}

/** Clears what clients claim of a session when its bridge says that nothing runs: a turn outlives the client that started it. */
export class UseLooks {
  readonly #options: UseLooksOptions;
  readonly #signal: AbortSignal;
  readonly #looks = new WeakMap<Use, Look>();

  constructor(options: UseLooksOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /** Resolves to when it is worth another look, in milliseconds; undefined = when a client says something. */
  async look(session: ArgusSession, use: Use): Promise<number | undefined> {
    const look = this.#looks.get(use) ?? {};
    this.#looks.set(use, look);
    const now = this.#options.clock.monotonicMs();
    if (!use.isOpen) return await this.#again(session, use, look);
    if (use.lines !== look.asked?.lines) {
      look.asked = { lines: use.lines, at: now };
      return QUIET_MS;
    }
    const left = look.asked.at + QUIET_MS - now;
    if (left > 0) return left;
    // Lines that wait for a pod are demand.
    const waits = use.clients > 0 && use.lines > 0 && !this.#options.directory.podOf(session);
    if (waits || (await this.#isUsed(session)) || use.lines !== look.asked.lines) return QUIET_MS;
    use.isOpen = false;
    look.againAt = now + ASK_AGAIN_MS;
    return ASK_AGAIN_MS;
  }

  async #again(session: ArgusSession, use: Use, look: Look): Promise<number | undefined> {
    if (look.againAt === undefined) return undefined;
    const left = look.againAt - this.#options.clock.monotonicMs();
    if (left > 0) return left;
    delete look.againAt;
    if (await this.#isUsed(session)) use.isOpen = true;
    return use.isOpen ? QUIET_MS : undefined;
  }

  async #isUsed(session: ArgusSession): Promise<boolean> {
    try {
      return await this.#options.isBridgeUsed(session, this.#signal);
    } catch (error) {
      // Not known counts as used.
      const facts = { session: session.metadata.name, error: errorMessage(error) };
      this.#options.logger.debug(facts, "a bridge could not be asked whether anything runs");
      return true;
    }
  }
}
