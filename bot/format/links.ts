/** A longer address is shown as text. */
const MAX_HREF = 2048;

export interface Target {
  /** Undefined = Telegram would not make a link of it. */
  href?: string;
  /** Shown behind the label when there is no link, so that nothing is lost. */
  shown: string;
}

/**
 * What becomes of a link's target. Only http, https and tg addresses become links. Telegram drops those whose host has no
 * dot (`http://localhost:3000`) and turns `mailto:` into nonsense, but finds e-mail addresses in text by itself.
 */
export function target(url: string): Target {
  const trimmed = url.trim();
  if (/^mailto:/i.test(trimmed)) return { shown: trimmed.slice("mailto:".length) };
  const shown = trimmed;
  if (trimmed.length > MAX_HREF) return { shown };
  if (/^tg:\/\/[\w-]+(?:[/?#]\S*)?$/i.test(trimmed)) return { href: trimmed, shown };
  return isWebAddress(trimmed) ? { href: encoded(trimmed), shown } : { shown };
}

function isWebAddress(url: string): boolean {
  if (!/^https?:\/\/[^/?#@\s]+(?:[/?#]|$)/i.test(url)) return false;
  const parsed = URL.parse(url);
  return parsed !== null && /\.|^\[/.test(parsed.hostname) && parsed.port !== "0";
}

/** White space and quotes end an address in some clients. */
function encoded(url: string): string {
  return url.replace(/[\s"<>\p{Cc}]/gu, (char) => encodeURIComponent(char));
}
