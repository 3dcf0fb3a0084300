const FACTORS: Record<string, number> = {
  "": 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** A Kubernetes quantity (`500m`, `1Gi`, `2e3`) as a number; undefined when it is none. */
export function parseQuantity(text: string | number | undefined): number | undefined {
  const match = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(String(text ?? ""));
  const factor = FACTORS[match?.[2] ?? "?"];
  if (!match?.[1] || factor === undefined || Number.isNaN(Number(match[1]))) return undefined;
  return Number(match[1]) * factor;
}
