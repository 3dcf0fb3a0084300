import { ArgusError } from "#lib/errors.ts";
import { type GatewayDocument, MAX_TITLES, type SessionTitle } from "#protocol/document.ts";

// What the gateway document knows of sessions. Pure.

export function titleOf(
  titles: readonly SessionTitle[],
  uid: string | undefined,
): string | undefined {
  return titles.find((each) => each.uid === uid)?.title;
}

/** An empty title takes it away. Throws `Busy` at the bound. */
export function setTitle(titles: SessionTitle[], uid: string, title: string): SessionTitle[] {
  const others = titles.filter((each) => each.uid !== uid);
  if (title === "") return others.length === titles.length ? titles : others;
  if (others.length >= MAX_TITLES) {
    const message = `${others.length} sessions have a title already: take one away first.`;
    throw new ArgusError("Busy", message);
  }
  return [...others, { uid, title }];
}

/** A deleted session leaves nothing to a successor of its name: neither its title nor its chats. */
export function forgetSession(
  document: GatewayDocument,
  { uid, name }: { uid: string; name: string },
): GatewayDocument {
  const titles = setTitle(document.titles, uid, "");
  const bindings = document.access.bindings.filter(({ session }) => session !== name);
  const isBound = bindings.length < document.access.bindings.length;
  if (titles === document.titles && !isBound) return document;
  return { ...document, titles, access: { ...document.access, bindings } };
}
