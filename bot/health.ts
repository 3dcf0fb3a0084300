/** What the bot waits for, a sentence each; empty = it takes and sends messages. */
export class BotHealth {
  readonly #reasons = new Map<string, string>([
    ["telegram", "Telegram has not answered yet."],
    ["gateway", "The gateway has not answered yet."],
  ]);

  get reasons(): string[] {
    return [...this.#reasons.values()];
  }

  /** `reason` undefined = all is well with it. */
  set(what: "telegram" | "gateway", reason: string | undefined): void {
    if (reason === undefined) this.#reasons.delete(what);
    else this.#reasons.set(what, reason);
  }
}
