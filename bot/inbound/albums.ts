import { MAX_ATTACHMENTS } from "#protocol/lane-entry.ts";
import type { Inbound } from "./message.ts";

/** The pieces of an album are one message, in the place of its first. Pure. */
export function withAlbums(messages: readonly Inbound[]): Inbound[] {
  const groups = new Map<string, Inbound[]>();
  for (const message of messages) {
    const key = message.album ? `${message.chatKey} ${message.album}` : message.key;
    groups.set(key, [...(groups.get(key) ?? []), message]);
  }
  return [...groups.values()].flatMap((pieces) => {
    const [first] = pieces;
    return first ? [{ ...first, ...joined(pieces) }] : [];
  });
}

function joined(pieces: readonly Inbound[]): Partial<Inbound> {
  return {
    text: pieces
      .map(({ text }) => text)
      .filter(Boolean)
      .join("\n"),
    attachments: pieces.flatMap(({ attachments }) => attachments).slice(0, MAX_ATTACHMENTS),
    isAddressed: pieces.some(({ isAddressed }) => isAddressed),
  };
}
