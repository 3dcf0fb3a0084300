import type { Entity } from "./html.ts";

/** A text as Telegram shows it, and what it silently took away from what was sent. */
export interface ShownText {
  text: string;
  entities: Entity[];
  lost: string[];
}

/** More entities than this are dropped without a word. */
export const MAX_ENTITIES = 100;

const SPLITTABLE = new Set(["bold", "italic", "underline", "strikethrough", "spoiler"]);
const QUOTES = new Set(["blockquote", "expandable_blockquote"]);
const ORDER = ["blockquote", "expandable_blockquote", "text_link", "code", "pre", "custom_emoji"];

const end = ({ offset, length }: Entity) => offset + length;
const isCode = ({ type }: Entity) => type === "code" || type === "pre";
const within = (inner: Entity, outer: Entity) =>
  inner.offset >= outer.offset && end(inner) <= end(outer);
const overlap = (a: Entity, b: Entity) => a.offset < end(b) && b.offset < end(a);

/** What Telegram makes of a parsed text: characters cleaned, entities put in order, white space around it cut off. */
export function showText(
  raw: string,
  parsed: Entity[],
  maxEntities: number = MAX_ENTITIES,
): ShownText {
  const lost: string[] = [];
  const cleaned = clean(raw, normalise(parsed, lost));
  const trimmed = trim(cleaned.text, cleaned.entities);
  return { ...trimmed, entities: capped(trimmed.entities, maxEntities, lost), lost };
}

/** Whether nothing of the text can be seen; Telegram refuses such a message. */
export function isInvisible(text: string): boolean {
  return /^[\s\p{Cf}\p{Zs}\p{Variation_Selector}\u2800\u3164\uffa0]*$/u.test(text);
}

function sorted(entities: Entity[]): Entity[] {
  return [...entities].sort(
    (a, b) =>
      a.offset - b.offset || b.length - a.length || ORDER.indexOf(a.type) - ORDER.indexOf(b.type),
  );
}

/** No two quotes, and no two of code, links and emoji, may overlap; code holds no style. */
function normalise(entities: Entity[], lost: string[]): Entity[] {
  const all = sorted(entities.map((entity) => ({ ...entity })));
  for (const entity of all) if (entity.type === "code") delete entity.language;
  const quotes = separate(
    all.filter(({ type }) => QUOTES.has(type)),
    lost,
  );
  const continuous = separate(
    all.filter(({ type }) => !SPLITTABLE.has(type) && !QUOTES.has(type)),
    lost,
  ).filter((entity) => {
    const crossed = quotes.find((quote) => overlap(entity, quote) && !within(entity, quote));
    if (crossed) lost.push(`${entity.type} at ${entity.offset}: crosses a quote`);
    return !crossed;
  });
  const styles = merged(all.filter(({ type }) => SPLITTABLE.has(type)));
  const code = continuous.filter(isCode);
  return sorted([
    ...quotes,
    ...continuous,
    ...styles.flatMap((style) => outside(style, code, lost)),
  ]);
}

function separate(entities: Entity[], lost: string[]): Entity[] {
  const kept: Entity[] = [];
  for (const entity of entities) {
    if (kept.some((other) => overlap(entity, other))) {
      lost.push(`${entity.type} at ${entity.offset}: inside of another`);
    } else kept.push(entity);
  }
  return kept;
}

/** Styles of one kind that touch are one. */
function merged(styles: Entity[]): Entity[] {
  const result: Entity[] = [];
  for (const style of styles) {
    const before = result.findLast(({ type }) => type === style.type);
    if (before && style.offset <= end(before)) {
      before.length = Math.max(end(before), end(style)) - before.offset;
    } else result.push({ ...style });
  }
  return result;
}

/** The pieces of a style that lie outside of code. */
function outside(style: Entity, code: Entity[], lost: string[]): Entity[] {
  const pieces: Entity[] = [];
  let from = style.offset;
  for (const block of code.filter((each) => overlap(each, style))) {
    lost.push(`${style.type} at ${style.offset}: inside of code or around it`);
    if (block.offset > from) pieces.push({ ...style, offset: from, length: block.offset - from });
    from = Math.max(from, end(block));
  }
  if (from < end(style)) pieces.push({ ...style, offset: from, length: end(style) - from });
  return pieces;
}

const UNCLEAN = /(?!\n)\p{Cc}|[\u2028-\u202e\u200e\u200f]|\u0333|\u033f|\u030a/u;

/** Control characters become spaces; some invisible or overdrawing ones vanish; entities move along. */
function clean(raw: string, entities: Entity[]): { text: string; entities: Entity[] } {
  if (!UNCLEAN.test(raw)) return { text: raw, entities };
  let text = "";
  const moved: number[] = [];
  for (const unit of raw) {
    for (let part = 0; part < unit.length; part++) moved.push(text.length + part);
    if (/[\r\u2028-\u202e]|\u0333|\u033f|\u030a/.test(unit)) continue;
    text += unit < " " && unit !== "\n" ? " " : unit;
  }
  moved.push(text.length);
  const at = (offset: number) => moved[offset] ?? text.length;
  return {
    text: text.replace(/[\u200e\u200f]+(?=[\u200e\u200f])/g, (run) => "\u200c".repeat(run.length)),
    entities: entities.map((entity) => {
      const offset = at(entity.offset);
      return { ...entity, offset, length: at(end(entity)) - offset };
    }),
  };
}

/** White space at the edges of the text goes, and entities neither begin with it nor consist of it. */
function trim(text: string, entities: Entity[]): { text: string; entities: Entity[] } {
  const solid = entities
    .map((entity) => {
      const body = text.slice(entity.offset, end(entity));
      const skipped = body.length - body.replace(/^[ \n]+/, "").length;
      return { ...entity, offset: entity.offset + skipped, length: entity.length - skipped };
    })
    .filter(({ length }) => length > 0);
  const last = text.replace(/[ \n]+$/, "").length;
  const leading = /^[ \n]*/.exec(text)?.[0].length ?? 0;
  const first = Math.min(leading, last);
  return {
    text: text.slice(first, last),
    entities: solid
      .map((entity) => ({
        ...entity,
        offset: entity.offset - first,
        length: Math.min(end(entity), last) - entity.offset,
      }))
      .filter(({ length }) => length > 0),
  };
}

function capped(entities: Entity[], max: number, lost: string[]): Entity[] {
  const firm = entities.filter(({ type }) => !SPLITTABLE.has(type));
  const styles = entities.filter(({ type }) => SPLITTABLE.has(type));
  const kept = [...firm, ...styles].slice(0, max);
  if (kept.length < entities.length)
    lost.push(`${entities.length - kept.length} entities too many`);
  return sorted(kept);
}
