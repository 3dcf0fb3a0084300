/** What happens to a request instead of the right answer. */
export type Fault =
  /** The API server is not asked. 410 of kind Expired is what a watch from long ago gets. */
  | { kind: "status"; status: number; reason?: string; retryAfterSeconds?: number }
  /** The connection breaks before the API server is asked; with it every request that shares it. */
  | { kind: "reset" | "end" }
  /** The connection hears nothing any more, in neither direction. */
  | { kind: "silent" }
  /** The API server does as it is asked, the answer is lost with the connection. */
  | { kind: "lost"; committed?: (status: number) => void }
  | { kind: "delay"; ms: number }
  /** Every event arrives in pieces of 1 to 7 bytes. */
  | { kind: "pieces" }
  /** The answer breaks off after so many bytes. */
  | { kind: "cut"; how: "reset" | "end"; afterBytes: number }
  /** These lines come before what the API server sends. */
  | { kind: "lines"; text: string }
  /** The API server is asked from the very first resourceVersion: its own 410 answers. */
  | { kind: "tooOld" };

/** What may happen to a watch that runs. */
export type Strike = "reset" | "end" | "silent" | "expired" | "garbage" | "halfLine";

export const EXPIRED = `${JSON.stringify({
  type: "ERROR",
  object: { kind: "Status", code: 410, reason: "Expired", message: "injected" },
})}\n`;

const REASONS: Record<number, string> = {
  409: "Conflict",
  410: "Expired",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
};

/** The API server's body for a refusal. */
export function statusBody({ status, reason }: { status: number; reason?: string }): string {
  return JSON.stringify({
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    code: status,
    reason: reason ?? REASONS[status] ?? "Injected",
    message: "injected",
  });
}

/** Random faults of one seed: the same questions in the same order get the same answers. */
export class RandomFaults {
  readonly seed: number;
  readonly counts = new Map<string, number>();
  #state: number;

  constructor(seed = Math.floor(Math.random() * 2 ** 31)) {
    this.seed = seed;
    this.#state = seed;
  }

  get injected(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** 0 ≤ n < below. */
  below(below: number): number {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  }

  /** A fault for a watch or list that begins. Long waits (silence, Retry-After) are rare: each costs seconds. */
  ofRead(): Fault {
    const random = (below: number) => this.below(below);
    const choices: (() => Fault)[] = [
      () => ({ kind: "status", status: 429 }),
      () => ({ kind: "status", status: 500 }),
      () => ({ kind: "status", status: 503 }),
      () => ({ kind: "status", status: 410 }),
      () => ({ kind: "status", status: 409 }),
      () => ({ kind: "reset" }),
      () => ({ kind: "end" }),
      () => ({ kind: "lost" }),
      () => ({ kind: "delay", ms: random(50) }),
      () => ({ kind: "pieces" }),
      () => ({ kind: "cut", how: random(2) ? "reset" : "end", afterBytes: random(4000) }),
      () => ({ kind: "lines", text: EXPIRED }),
      () => ({ kind: "lines", text: "{broken\n" }),
      () => ({ kind: "tooOld" }),
    ];
    const rare: (() => Fault)[] = [
      () => ({ kind: "silent" }),
      () => ({ kind: "status", status: 429, retryAfterSeconds: 1 }),
    ];
    const from = random(60) === 0 ? rare : choices;
    const fault = (from[random(from.length)] ?? (() => ({ kind: "reset" })))();
    this.count(fault.kind === "status" ? `answer ${fault.status}` : `read ${fault.kind}`);
    return fault;
  }

  /** A fault for a watch that runs. */
  ofStream(): Strike {
    const common: Strike[] = ["reset", "end", "expired", "garbage", "halfLine"];
    const strike = this.below(60) === 0 ? "silent" : (common[this.below(5)] ?? "reset");
    this.count(`stream ${strike}`);
    return strike;
  }

  count(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }
}
