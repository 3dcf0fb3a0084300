/**
 * How one JSON value became another, as JSON: what stayed is named, not repeated.
 * `{"in": {"inputs": {"list": [[1, 64], {"add": [{"id": "in-9"}]}]}}}` = of the field `inputs` the first element went, one came.
 */
export type Change =
  | { set: unknown }
  /** Fields of an object that changed, and those that went. */
  | { in: Record<string, Change>; drop?: string[] }
  /** The new array, piece by piece. */
  | { list: Piece[] };

type Piece =
  /** Elements of the old array, from the first index up to before the second. */
  | [from: number, to: number]
  | { add: unknown[] }
  /** One element of the old array, changed. */
  | { at: number; change: Change };

/**
 * Undefined when nothing changed. Values are compared by identity, so the cost is that of the changed parts: whoever shares what it
 * kept gets a small change, whoever copied it gets it written again. Neither value may ever be changed in place.
 */
export function difference(before: unknown, after: unknown): Change | undefined {
  if (before === after) return undefined;
  if (Array.isArray(before) && Array.isArray(after))
    return new ListDifference(before, after).change();
  if (isRecord(before) && isRecord(after)) return fieldDifference(before, after);
  return { set: after };
}

/** The value that the change leads to. Throws when the change does not fit to `before`. */
export function applied(before: unknown, change: Change): unknown {
  if ("set" in change) return change.set;
  if ("list" in change) return change.list.flatMap((piece) => elements(before as unknown[], piece));
  const { in: changed, drop = [] } = change;
  const old = before as Record<string, unknown>;
  const kept = Object.entries(old).filter(([name]) => !drop.includes(name));
  const fields = Object.entries(changed).map(
    ([name, each]) =>
      [name, applied(Object.hasOwn(old, name) ? old[name] : undefined, each)] as const,
  );
  // Defined, not assigned: a field may be called __proto__.
  return Object.fromEntries([...kept, ...fields]);
}

function elements(before: unknown[], piece: Piece): unknown[] {
  if (Array.isArray(piece)) {
    const [from, to] = piece;
    if (!(from >= 0 && from <= to && to <= before.length)) throw new RangeError("no such elements");
    return before.slice(from, to);
  }
  return "add" in piece ? piece.add : [applied(before.at(piece.at), piece.change)];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** JSON knows no undefined: such a field is not there. */
const has = (value: Record<string, unknown>, name: string) =>
  Object.hasOwn(value, name) && value[name] !== undefined;

function fieldDifference(
  before: Record<string, unknown>,
  after: Record<string, unknown>,
): Change | undefined {
  const changed: [string, Change][] = [];
  for (const name of Object.keys(after)) {
    const value = after[name];
    if (value === undefined) continue;
    const old = Object.hasOwn(before, name) ? before[name] : undefined;
    const change = old === undefined ? { set: value } : difference(old, value);
    if (change) changed.push([name, change]);
  }
  const drop = Object.keys(before).filter((name) => has(before, name) && !has(after, name));
  if (changed.length === 0 && drop.length === 0) return undefined;
  const fields = { in: Object.fromEntries(changed) };
  return drop.length > 0 ? { ...fields, drop } : fields;
}

const MAX_SEARCHES = 8;

/** Walks through the new array and names runs of old elements; what is new is looked up once, not searched for. */
class ListDifference {
  readonly #before: unknown[];
  readonly #after: unknown[];
  readonly #pieces: Piece[] = [];
  /** Elements of the old array before it are used up. */
  #next = 0;
  #searches = 0;
  #places: Map<unknown, number> | undefined;
  #kept: Set<unknown> | undefined;

  constructor(before: unknown[], after: unknown[]) {
    this.#before = before;
    this.#after = after;
  }

  change(): Change | undefined {
    for (let at = 0; at < this.#after.length; ) at += this.#take(at);
    const [first, ...others] = this.#pieces;
    const whole = Array.isArray(first) && first[0] === 0 && first[1] === this.#before.length;
    if (others.length === 0 && (whole || this.#before.length + this.#after.length === 0))
      return undefined;
    return { list: this.#pieces };
  }

  /** Answers how many elements of the new array it has dealt with. */
  #take(at: number): number {
    const from = this.#placeOf(this.#after[at]);
    if (from === undefined) {
      this.#takeNew(this.#after[at]);
      return 1;
    }
    const length = sameFrom(this.#before, from, this.#after, at);
    this.#pieces.push([from, from + length]);
    this.#next = from + length;
    return length;
  }

  #placeOf(value: unknown): number | undefined {
    if (this.#next < this.#before.length && this.#before[this.#next] === value) return this.#next;
    const place = this.#search(value);
    return place >= this.#next ? place : undefined;
  }

  /** -1 = nowhere. The table is worth its making only for many searches. */
  #search(value: unknown): number {
    this.#searches += 1;
    if (this.#searches <= MAX_SEARCHES) return this.#before.indexOf(value, this.#next);
    this.#places ??= new Map(this.#before.map((each, index) => [each, index]));
    return this.#places.get(value) ?? -1;
  }

  #takeNew(value: unknown): void {
    const change = this.#changeOfNext(value);
    if (change) {
      this.#pieces.push({ at: this.#next, change });
      this.#next += 1;
      return;
    }
    const last = this.#pieces.at(-1);
    if (last && "add" in last) last.add.push(value);
    else this.#pieces.push({ add: [value] });
  }

  /** An old element that the new array has no more, in whose place this one stands: it may share most of its fields. */
  #changeOfNext(value: unknown): Change | undefined {
    const old = this.#before[this.#next];
    if (!isRecord(value) || !isRecord(old)) return undefined;
    this.#kept ??= new Set(this.#after);
    return this.#kept.has(old) ? undefined : difference(old, value);
  }
}

/** How many elements are the same ones, from a place in one array and a place in another on. */
function sameFrom(before: unknown[], from: number, after: unknown[], at: number): number {
  const most = Math.min(before.length - from, after.length - at);
  let length = 0;
  while (length < most && before[from + length] === after[at + length]) length += 1;
  return length;
}
