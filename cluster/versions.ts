/**
 * Whether resourceVersion `seen` is at least `wanted`. Versions of one collection are comparable integers;
 * anything else is comparable by equality alone.
 */
export function isAtLeast(seen: string | undefined, wanted: string): boolean {
  if (seen === undefined) return false;
  if (seen === wanted) return true;
  if (!isComparable(seen) || !isComparable(wanted)) return false;
  return seen.length === wanted.length ? seen > wanted : seen.length > wanted.length;
}

export const isComparable = (version: string): boolean => /^\d+$/.test(version);
