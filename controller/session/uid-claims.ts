import { ArgusError } from "#lib/errors.ts";

/** Who holds a user id. */
export interface UidHolder {
  name: string;
  /** UID of the ArgusSession. */
  uid: string;
}

/** user id → holder. */
export type UidTable = ReadonlyMap<number, UidHolder>;

export interface UidRange {
  first: number;
  last: number;
}

/** Reads `{"200000": "main/6f1c…"}`; entries that are none are ignored, never given away. */
export function parseUidTable(data: Record<string, string> | undefined): UidTable {
  const table = new Map<number, UidHolder>();
  for (const [number, value] of Object.entries(data ?? {})) {
    const slash = value.lastIndexOf("/");
    table.set(Number(number), { name: value.slice(0, slash), uid: value.slice(slash + 1) });
  }
  return table;
}

export function formatUidTable(table: UidTable): Record<string, string> {
  return Object.fromEntries(
    [...table].map(([number, { name, uid }]) => [number, `${name}/${uid}`]),
  );
}

export interface Wanted extends UidHolder {
  /** The id that the session had before; taken again where it is free, its files belong to it. */
  recorded?: number | undefined;
}

/**
 * The table with an id for each of `wanted`; who has one keeps it. Ids in `reserved` (recorded by other sessions) are not given.
 * Throws `Unavailable` when the range has no free id.
 */
export function claimUids(
  table: UidTable,
  wanted: readonly Wanted[],
  { range, reserved }: { range: UidRange; reserved: ReadonlySet<number> },
): UidTable {
  const next = new Map(table);
  const holders = new Set([...table.values()].map(({ uid }) => uid));
  if (wanted.every(({ uid }) => holders.has(uid))) return table;
  let candidate = range.first;
  for (const { name, uid, recorded } of wanted) {
    if (holders.has(uid)) continue;
    holders.add(uid);
    if (recorded !== undefined && !next.has(recorded)) {
      next.set(recorded, { name, uid });
      continue;
    }
    while (next.has(candidate) || reserved.has(candidate)) candidate += 1;
    if (candidate > range.last) throw exhausted(range);
    next.set(candidate, { name, uid });
  }
  return next;
}

export function releaseUids(table: UidTable, sessionUids: ReadonlySet<string>): UidTable {
  return new Map([...table].filter(([, { uid }]) => !sessionUids.has(uid)));
}

function exhausted({ first, last }: UidRange): ArgusError {
  return new ArgusError(
    "Unavailable",
    `all user ids ${first}-${last} are taken: widen the range or delete volume claims that nobody needs`,
    { first, last },
  );
}
