import { z } from "zod";
import { systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { PartOutcome } from "#protocol/channel.ts";
import { type AskNotice, CHANNEL_ASK } from "#protocol/channel-asks.ts";
import type { Link } from "./link.ts";

/** Questions that are being shown; a further one is told again. */
const MAX_AT_ONCE = 64;
/** Whoever is not sure that a question arrived looks at the chat again after this. */
const UNCLEAR_MS = 30_000;
/** Without another word of the channel. */
const PAUSE_MS = 2000;

const ShownResult = z.looseObject({ isKnown: z.boolean() });

/**
 * Shows a question with its choices, or, where `ref` names the message that shows it, changes that one. One request, one try. `outcome` not empty:
 * it is over and nothing can be chosen any more.
 */
export type ShowAsk = (ask: AskNotice, signal: AbortSignal) => Promise<PartOutcome>;

/** Questions on their way to the channel, each by one hand. */
export class AskShower {
  readonly #link: Pick<Link, "insist">;
  readonly #show: ShowAsk;
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  readonly #under = new Set<string>();

  constructor(
    link: Pick<Link, "insist">,
    show: ShowAsk,
    { logger, signal }: { logger: Logger; signal: AbortSignal },
  ) {
    this.#link = link;
    this.#show = show;
    this.#logger = logger;
    this.#signal = signal;
  }

  /** The gateway tells of a question; it tells again until it hears that it is shown. Never throws. */
  async told(ask: AskNotice): Promise<void> {
    const { askId } = ask;
    if (this.#under.has(askId) || this.#under.size >= MAX_AT_ONCE) return;
    this.#under.add(askId);
    try {
      await this.#settle(ask);
    } catch (error) {
      const facts = { ask: askId, error: errorMessage(error) };
      if (!this.#signal.aborted) this.#logger.warn(facts, "a question was not shown");
    } finally {
      this.#under.delete(askId);
    }
  }

  async #settle(ask: AskNotice): Promise<void> {
    const state = ask.outcome === "" ? "open" : "over";
    const outcome = await this.#show(ask, this.#signal).catch(
      (error: unknown): PartOutcome => ({ state: "unknown", reason: errorMessage(error) }),
    );
    if (outcome.state === "sent") await this.#report(ask, { state, ref: outcome.ref });
    else if (outcome.state === "refused")
      await this.#report(ask, { state, failed: outcome.reason });
    else if (outcome.state === "notSent") await this.#again(ask, outcome);
    else if (ask.ref !== null) await this.#again(ask, {});
    else if (ask.again) await this.#report(ask, { state });
    else await this.#again({ ...ask, again: true }, { retryAfterMs: UNCLEAR_MS });
  }

  async #again(ask: AskNotice, { retryAfterMs = PAUSE_MS }: { retryAfterMs?: number | undefined }) {
    await systemClock.sleep(retryAfterMs, this.#signal);
    // Nobody can answer it any more; the gateway knows what became of it.
    if (ask.outcome === "" && Date.now() > ask.until) return;
    await this.#settle(ask);
  }

  async #report({ askId, ...ask }: AskNotice, shown: object): Promise<void> {
    const params = { askId, ...shown };
    const asked = { method: CHANNEL_ASK.shown, params, result: ShownResult };
    const { isKnown } = await this.#link.insist(asked, this.#signal);
    const ref = "ref" in shown && typeof shown.ref === "string" ? shown.ref : null;
    // It ended while it was being shown.
    if (isKnown || ref === null || ask.outcome !== "") return;
    const over = { ...ask, askId, ref, outcome: "☑️ This question is over." };
    await this.#show(over, this.#signal);
  }
}
