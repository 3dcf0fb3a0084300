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

/** What ids may be given: those of the range that are not `reserved` (recorded by other sessions). */
export interface UidSupply {
  range: UidRange;
  reserved: ReadonlySet<number>;
}

/** A table under change; the table that it began from stays as it was. */
export class UidDraft {
  readonly #next: Map<number, UidHolder>;
  readonly #byHolder: Map<string, number>;
  readonly #supply: UidSupply;
  /** No id below this one is free. */
  #candidate: number;
  #changed = false;

  constructor(table: UidTable, supply: UidSupply) {
    this.#next = new Map(table);
    this.#byHolder = new Map([...table].map(([number, { uid }]) => [uid, number]));
    this.#supply = supply;
    this.#candidate = supply.range.first;
  }

  /** The changed table, or undefined when nothing changed. */
  get result(): UidTable | undefined {
    return this.#changed ? this.#next : undefined;
  }

  /** Gives the session an id; who has one keeps it. Throws `Unavailable` when none is free. */
  claim({ name, uid, recorded }: Wanted): void {
    if (this.#byHolder.has(uid)) return;
    const number = recorded !== undefined && !this.#next.has(recorded) ? recorded : this.#free();
    this.#next.set(number, { name, uid });
    this.#byHolder.set(uid, number);
    this.#changed = true;
  }

  release(sessionUid: string): void {
    const number = this.#byHolder.get(sessionUid);
    if (number === undefined) return;
    this.#next.delete(number);
    this.#byHolder.delete(sessionUid);
    this.#candidate = Math.min(this.#candidate, Math.max(number, this.#supply.range.first));
    this.#changed = true;
  }

  #free(): number {
    const { range, reserved } = this.#supply;
    while (this.#next.has(this.#candidate) || reserved.has(this.#candidate)) this.#candidate += 1;
    if (this.#candidate > range.last) throw exhausted(range);
    return this.#candidate;
  }
}

function exhausted({ first, last }: UidRange): ArgusError {
  return new ArgusError(
    "Unavailable",
    `all user ids ${first}-${last} are taken: widen the range or delete volume claims that nobody needs`,
    { first, last },
  );
}
