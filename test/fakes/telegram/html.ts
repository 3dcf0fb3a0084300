/**
 * Telegram's `parse_mode=HTML`, strictly: which tags, attributes and character references it takes and in which words it
 * refuses the rest. Offsets in errors are bytes of UTF-8, offsets of entities UTF-16 units, both as Telegram counts them.
 */

export type EntityType =
  | "bold"
  | "italic"
  | "underline"
  | "strikethrough"
  | "spoiler"
  | "code"
  | "pre"
  | "text_link"
  | "custom_emoji"
  | "blockquote"
  | "expandable_blockquote";

export interface Entity {
  type: EntityType;
  offset: number;
  length: number;
  language?: string;
  url?: string;
  custom_emoji_id?: string;
}

export interface RawText {
  text: string;
  entities: Entity[];
  /** What Telegram overlooks without an error, and a careful sender does not write. */
  ignored: string[];
}

/** The text cannot be parsed; `message` is what follows `Bad Request: `. */
export class EntityError extends Error {
  constructor(problem: string) {
    super(`can't parse entities: ${problem}`);
  }
}

const SIMPLE_TAGS: Record<string, EntityType> = {
  b: "bold",
  strong: "bold",
  i: "italic",
  em: "italic",
  u: "underline",
  ins: "underline",
  s: "strikethrough",
  strike: "strikethrough",
  del: "strikethrough",
  "tg-spoiler": "spoiler",
};
const OTHER_TAGS = new Set(["a", "span", "tg-emoji", "pre", "code", "blockquote"]);
const REFERENCES: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"' };

interface OpenTag {
  name: string;
  argument: string;
  /** Where its text begins in the visible text. */
  offset: number;
  /** Where it began in the source. */
  at: number;
}

export function parseHtml(source: string): RawText {
  return new HtmlReader(source).read();
}

class HtmlReader {
  readonly #source: string;
  #at = 0;
  #text = "";
  readonly #open: OpenTag[] = [];
  readonly #entities: Entity[] = [];
  readonly #ignored: string[] = [];

  constructor(source: string) {
    this.#source = source;
  }

  read(): RawText {
    while (this.#at < this.#source.length) {
      const char = this.#source[this.#at];
      if (char === "<") this.#tag();
      else if (char === "&") this.#text += this.#reference();
      else this.#text += this.#take(/[^<&]+/y);
    }
    const left = this.#open.at(-1);
    if (left) {
      throw new EntityError(`Can't find end tag corresponding to start tag "${left.name}"`);
    }
    if (!this.#text.isWellFormed()) {
      throw new EntityError(
        "Text contains invalid Unicode characters after decoding HTML entities, check for unmatched surrogate code units",
      );
    }
    return { text: this.#text, entities: this.#entities, ignored: this.#ignored };
  }

  /** Reads `&…;` (the semicolon may be missing); anything else is an ordinary ampersand. */
  #reference(): string {
    const rest = this.#source.slice(this.#at, this.#at + 12);
    const numeric = /^&#(?:x([\da-fA-F]*)|(\d*))/.exec(rest);
    const named = /^&([a-zA-Z]*)/.exec(rest);
    const found = numeric ?? named;
    const value = numeric
      ? codePoint(numeric[1] === undefined ? Number(numeric[2]) : Number.parseInt(numeric[1], 16))
      : REFERENCES[named?.[1] ?? ""];
    if (!found || value === undefined || found[0].length >= 10) {
      this.#at++;
      return "&";
    }
    this.#at += found[0].length;
    if (this.#source[this.#at] === ";") this.#at++;
    return value;
  }

  #tag(): void {
    const at = this.#at++;
    if (this.#source[this.#at] === "/") this.#endTag(at);
    else this.#startTag(at);
  }

  #startTag(at: number): void {
    const name = this.#take(/[^\s\0>]*/y).toLowerCase();
    if (this.#ended())
      throw new EntityError(`Unclosed start tag at byte offset ${this.#bytes(at)}`);
    if (!(name in SIMPLE_TAGS) && !OTHER_TAGS.has(name)) {
      throw new EntityError(`Unsupported start tag "${name}" at byte offset ${this.#bytes(at)}`);
    }
    let argument = "";
    for (;;) {
      this.#take(/[\s\0]*/y);
      if (this.#ended()) {
        throw new EntityError(`Unclosed start tag "${name}" at byte offset ${this.#bytes(at)}`);
      }
      if (this.#source[this.#at] === ">") break;
      argument = this.#attribute(name, at) ?? argument;
    }
    this.#at++;
    if (name === "span" && argument !== "spoiler") {
      throw new EntityError(
        `Tag "span" must have class "tg-spoiler" at byte offset ${this.#bytes(at)}`,
      );
    }
    this.#open.push({ name, argument, offset: this.#text.length, at });
  }

  /** The tag's argument when this attribute carries it. */
  #attribute(tag: string, at: number): string | undefined {
    const name = this.#take(/[^\s\0=>]*/y);
    if (!name) {
      throw new EntityError(
        `Empty attribute name in the tag "${tag}" at byte offset ${this.#bytes(at)}`,
      );
    }
    this.#take(/[\s\0]*/y);
    if (this.#source[this.#at] !== "=") {
      if (tag === "blockquote" && name === "expandable") return "expandable";
      throw new EntityError(
        `Expected equal sign in declaration of an attribute of the tag "${tag}" at byte offset ${this.#bytes(at)}`,
      );
    }
    this.#at++;
    this.#take(/[\s\0]*/y);
    if (this.#ended()) {
      throw new EntityError(`Unclosed start tag "${tag}" at byte offset ${this.#bytes(at)}`);
    }
    const value = this.#attributeValue(at);
    const argument = argumentOf(tag, name, value);
    if (argument === undefined) this.#ignored.push(`attribute ${name} of ${tag}`);
    return argument;
  }

  #attributeValue(at: number): string {
    const quote = this.#source[this.#at];
    if (quote !== '"' && quote !== "'") {
      const from = this.#at;
      const value = this.#take(/[a-zA-Z0-9.-]*/y).toLowerCase();
      if (!this.#ended() && !/[\s\0>]/.test(this.#source[this.#at] ?? "")) {
        throw new EntityError(`Unexpected end of name token at byte offset ${this.#bytes(from)}`);
      }
      return value;
    }
    this.#at++;
    let value = "";
    while (!this.#ended() && this.#source[this.#at] !== quote) {
      value += this.#source[this.#at] === "&" ? this.#reference() : this.#source[this.#at++];
    }
    this.#at++;
    if (this.#ended())
      throw new EntityError(`Unclosed start tag at byte offset ${this.#bytes(at)}`);
    return value;
  }

  #endTag(at: number): void {
    const tag = this.#open.pop();
    if (!tag) throw new EntityError(`Unexpected end tag at byte offset ${this.#bytes(at)}`);
    this.#at++;
    const name = this.#take(/[^\s\0>]*/y).toLowerCase();
    this.#take(/[\s\0]*/y);
    if (this.#source[this.#at] !== ">") {
      throw new EntityError(`Unclosed end tag at byte offset ${this.#bytes(at)}`);
    }
    this.#at++;
    if (name && name !== tag.name) {
      throw new EntityError(
        `Unmatched end tag at byte offset ${this.#bytes(at)}, expected "</${tag.name}>", found "</${name}>"`,
      );
    }
    if (this.#text.length > tag.offset) this.#close(tag);
  }

  #close({ name, argument, offset }: OpenTag): void {
    const length = this.#text.length - offset;
    const last = this.#entities.at(-1);
    const sameAs = (type: EntityType) =>
      last?.type === type && last.offset === offset && last.length === length;
    const simple = SIMPLE_TAGS[name] ?? (name === "span" ? "spoiler" : undefined);
    if (simple) this.#entities.push({ type: simple, offset, length });
    else if (name === "a") this.#closeLink(argument || this.#text.slice(offset), offset, length);
    else if (name === "tg-emoji") this.#closeEmoji(argument, offset, length);
    else if (name === "blockquote") {
      const type = argument ? "expandable_blockquote" : "blockquote";
      this.#entities.push({ type, offset, length });
    } else if (name === "pre") {
      if (last && sameAs("code") && last.language) last.type = "pre";
      else this.#entities.push({ type: "pre", offset, length });
    } else if (last && sameAs("pre") && argument) last.language = argument;
    else this.#entities.push(codeEntity(argument, offset, length));
  }

  #closeLink(target: string, offset: number, length: number): void {
    const url = checkedLink(target);
    if (url) this.#entities.push({ type: "text_link", offset, length, url });
    else this.#ignored.push(`link to ${JSON.stringify(target)}`);
  }

  #closeEmoji(id: string, offset: number, length: number): void {
    if (!/^-?[1-9]\d*$/.test(id)) {
      throw new EntityError("Invalid custom emoji identifier specified");
    }
    this.#entities.push({ type: "custom_emoji", offset, length, custom_emoji_id: id });
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#source)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  #ended(): boolean {
    return this.#at >= this.#source.length;
  }

  #bytes(at: number): number {
    return Buffer.byteLength(this.#source.slice(0, at));
  }
}

function codePoint(value: number): string | undefined {
  if (!value || value >= 0x10ffff) return undefined;
  // Half of a pair stays a half; two of them in a row become one character, as in Telegram's UTF-16.
  return value > 0xffff ? String.fromCodePoint(value) : String.fromCharCode(value);
}

function argumentOf(tag: string, attribute: string, value: string): string | undefined {
  if (tag === "a" && attribute === "href") return value;
  if (tag === "tg-emoji" && attribute === "emoji-id") return value;
  if (tag === "span" && attribute === "class" && value.startsWith("tg-")) return value.slice(3);
  if (tag === "code" && attribute === "class" && value.startsWith("language-")) {
    return value.slice("language-".length);
  }
  return undefined;
}

function codeEntity(language: string, offset: number, length: number): Entity {
  return { type: "code", offset, length, ...(language ? { language } : {}) };
}

/**
 * The address as Telegram keeps it; undefined = it silently drops the link: other schemes, hosts without a dot.
 * An address without a scheme, and so also `mailto:name@host`, becomes an http one.
 */
export function checkedLink(target: string): string | undefined {
  const own = /^(tg|ton):(?:\/\/)?([\w-]+)([/?#].*)?$/i.exec(target);
  if (own) return `${own[1]?.toLowerCase()}://${own[2]}${own[3] ?? ""}`;
  if (/^(?:tg|ton):/i.test(target)) return undefined;
  const scheme = /^([^:/?#[\]@]*):\/\//.exec(target)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== "http" && scheme !== "https") return undefined;
  const rest = scheme === undefined ? target : target.slice(scheme.length + 3);
  const parts =
    /^(?:([^/?#]*)@)?(\[[\da-fA-F:.]+\]|[^/?#:@\s\p{Cc}]+)(?::(\d{1,5}))?(?:[/?#].*)?$/su.exec(
      rest,
    );
  if (!parts || Number(parts[3] ?? 80) > 65_535 || parts[3] === "0") return undefined;
  const host = parts[2] ?? "";
  if (!host.includes(".") && !host.startsWith("[")) return undefined;
  return `${scheme ?? "http"}://${rest}`;
}
