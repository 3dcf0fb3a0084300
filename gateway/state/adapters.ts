import { ArgusError } from "#lib/errors.ts";
import { SUPERSEDED } from "#protocol/channel.ts";
import { type Adapters, MAX_ADAPTERS } from "#protocol/document.ts";
import type { Reduced } from "./document.ts";

// Which process of an adapter is the living one. Pure.

/**
 * A process says hello. Without an epoch it is a new one and gets the next; with one it goes on, unless a newer one has
 * spoken since: that throws `Conflict` for good. Epochs count for all adapters together, so that one whose entry was let go
 * never meets its own old ones.
 */
export function greet(
  before: Adapters,
  { name, epoch }: { name: string; epoch?: number | undefined },
): Reduced<Adapters, number> {
  const known = before.known.find((each) => each.name === name);
  if (epoch !== undefined) {
    if (known?.epoch === epoch) return { document: before, answer: epoch };
    throw new ArgusError("Conflict", SUPERSEDED, { adapter: name, epoch });
  }
  const next = before.epoch + 1;
  const others = before.known.filter((each) => each !== known);
  const kept = others.slice(Math.max(0, others.length - MAX_ADAPTERS + 1));
  return { document: { epoch: next, known: [...kept, { name, epoch: next }] }, answer: next };
}

/** The epoch of the adapter's living process; 0 = none is known. */
export function epochOf({ known }: Adapters, name: string): number {
  return known.find((each) => each.name === name)?.epoch ?? 0;
}
