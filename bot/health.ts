const NOTHING_YET: [string, string][] = [
  ["telegram", "Telegram has not answered yet."],
  ["gateway", "The gateway has not answered yet."],
];

/** Whether this replica is the one that talks. */
interface Leading {
  isLeader(): boolean;
  unready(): string[];
}

/** What the bot waits for, a sentence each; empty = it takes and sends messages, or would if its turn came. */
export class BotHealth {
  #reasons = new Map(NOTHING_YET);
  #leading: Leading | undefined;

  get reasons(): string[] {
    const own = this.#leading?.isLeader() === false ? [] : this.#reasons.values();
    return [...(this.#leading?.unready() ?? []), ...own];
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
