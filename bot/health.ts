const NOTHING_YET: [string, string][] = [
  ["telegram", "Telegram has not answered yet."],
  ["gateway", "The gateway has not answered yet."],
];
const NOT_ITS_TURN =
  "Another bot holds the Lease: this one takes what Telegram posts when that one has ended.";

/** Whether this replica is the one that talks. */
interface Leading {
  isLeader(): boolean;
  unready(): string[];
}

/** What the bot waits for, a sentence each; empty = it takes and sends messages, or would at once if its turn came. */
export class BotHealth {
  #reasons = new Map(NOTHING_YET);
  #leading: Leading | undefined;
  readonly #isPosted: boolean;

  /** `isPosted`: Telegram posts to this bot, so while it waits for its turn posts find a closed door. */
  constructor(isPosted: boolean) {
    this.#isPosted = isPosted;
  }

  get reasons(): string[] {
    const isStandby = this.#leading?.isLeader() === false;
    const waits = this.#isPosted ? [NOT_ITS_TURN] : [];
    return [...(this.#leading?.unready() ?? []), ...(isStandby ? waits : this.#reasons.values())];
  }

  /** From now on a standby is well when it could get the Lease. */
  follow(leading: Leading): void {
    this.#leading = leading;
  }

  /** Nothing is known of the time before. */
  begin(): void {
    this.#reasons = new Map(NOTHING_YET);
  }

  /** `reason` undefined = all is well with it. */
  set(what: "telegram" | "gateway", reason: string | undefined): void {
    if (reason === undefined) this.#reasons.delete(what);
    else this.#reasons.set(what, reason);
  }
}
