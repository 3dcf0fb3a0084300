/** Hello tokens of about one minute; with more a hello is refused, for a forgotten one could be used again. */
export const MAX_USED_TOKENS = 10_000;

/** Nonces of the tokens that were used and are still valid, so that each is taken once. Pure: time is an argument. */
export class UsedTokens {
  /** Nonce → when its token ends (ms since the epoch). */
  readonly #until = new Map<string, number>();

  get size(): number {
    return this.#until.size;
  }

  /** Why the token is not taken; undefined = this is its first use. */
  use(nonce: string, until: number, now: number): "used" | "busy" | undefined {
    if (this.#until.has(nonce)) return "used";
    if (this.#until.size >= MAX_USED_TOKENS) this.#forgetEnded(now);
    if (this.#until.size >= MAX_USED_TOKENS) return "busy";
    this.#until.set(nonce, until);
    return undefined;
  }

  #forgetEnded(now: number): void {
    for (const [nonce, until] of this.#until) {
      if (until <= now) this.#until.delete(nonce);
    }
  }
}
