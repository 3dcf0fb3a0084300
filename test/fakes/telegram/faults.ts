/** How one request goes wrong. */
export type Fault =
  /** An error of the server, before or after the request had its effect. */
  | { status: number; description?: string; when?: "before" | "after" }
  /** Flood control, whatever the rates say. */
  | { retryAfter: number }
  /** The connection ends without an answer. */
  | { cut: "before" | "after" }
  /** No answer comes, and the connection stays. */
  | { hang: "before" | "after" };

export interface FaultRule {
  fault: Fault;
  /** Only this method or these; `download` = a file. All but getUpdates when absent. */
  method?: string | string[];
  /** Only requests for which this holds. */
  when?: (params: Record<string, unknown>) => boolean;
  /** So many that match go well first. */
  skip?: number;
  /** So many that match go wrong; 1 when absent, without end when there is a chance. */
  times?: number;
  /** Probability that one that matches goes wrong. */
  chance?: number;
}

export interface FaultHandle {
  /** Requests that went wrong by it so far. */
  readonly hits: number;
  remove(): void;
}

interface ActiveRule {
  rule: FaultRule;
  skip: number;
  left: number;
  hits: number;
}

/** Decides which requests go wrong; by chance, but the same ones for the same seed and order. */
export class Faults {
  readonly #random: () => number;
  #rules: ActiveRule[] = [];

  constructor(seed: number) {
    this.#random = mulberry32(seed);
  }

  add(rule: FaultRule): FaultHandle {
    const times = rule.times ?? (rule.chance === undefined ? 1 : Number.POSITIVE_INFINITY);
    const active = { rule, skip: rule.skip ?? 0, left: times, hits: 0 };
    this.#rules.push(active);
    return {
      get hits() {
        return active.hits;
      },
      remove: () => {
        this.#rules = this.#rules.filter((each) => each !== active);
      },
    };
  }

  clear(): void {
    this.#rules = [];
  }

  /** The fault of this request; undefined = it goes well. */
  pick(method: string, params: Record<string, unknown>): Fault | undefined {
    for (const active of this.#rules) {
      if (active.left <= 0 || !matches(active.rule, method, params)) continue;
      if (active.skip-- > 0) continue;
      if (active.rule.chance !== undefined && this.#random() >= active.rule.chance) continue;
      active.left--;
      active.hits++;
      return active.rule.fault;
    }
    return undefined;
  }
}

function matches(rule: FaultRule, method: string, params: Record<string, unknown>): boolean {
  const named = rule.method === undefined ? undefined : [rule.method].flat();
  const right = named
    ? named.some((name) => name.toLowerCase() === method.toLowerCase())
    : method.toLowerCase() !== "getupdates";
  return right && (rule.when?.(params) ?? true);
}

/** A small generator of pseudo-random numbers from 0 to below 1. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
