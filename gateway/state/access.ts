import { ArgusError } from "#lib/errors.ts";
import {
  type Access,
  type Binding,
  CODE_TTL_MS,
  MAX_BINDINGS,
  MAX_PENDING_CODES,
  MAX_PEOPLE,
  type PairingCode,
  type Person,
} from "#protocol/access.ts";
import type { Reduced } from "./document.ts";

// Who may write through a channel, and to which session a chat talks. Pure.

/** A message's sender, as the channel tells it; ids carry the channel's name. */
export interface Sender {
  person: { id: string; name: string };
  chat: string;
  isGroup: boolean;
}

/** Ids that the installation's configuration names: they need no code, and nobody can take them away by command. */
export interface AllowList {
  owners: readonly string[];
  members: readonly string[];
}

export type Verdict =
  | { state: "allowed"; role: Person["role"]; session: string | undefined }
  /** The stranger is shown this code. */
  | { state: "pairing"; code: PairingCode }
  /** Said to nobody: a stranger costs nothing. `groupNotBound`: an owner has to bind the group first. */
  | { state: "refused"; reason: "stranger" | "groupNotBound" };

export function roleOf(
  { people }: Access,
  id: string,
  allow: AllowList,
): Person["role"] | undefined {
  if (allow.owners.includes(id)) return "owner";
  const known = people.find((person) => person.id === id)?.role;
  return known ?? (allow.members.includes(id) ? "member" : undefined);
}

export function sessionOf({ bindings }: Access, chat: string): string | undefined {
  return bindings.find((binding) => binding.chat === chat)?.session;
}

/** Chats that talk to the session, the one that was bound first at the front. */
export function chatsOf({ bindings }: Access, session: string): string[] {
  return bindings.filter((binding) => binding.session === session).map(({ chat }) => chat);
}

/** Judges a sender. In a private chat a stranger gets a code, of which few are open at once; in a group strangers get nothing. */
export function judge(
  before: Access,
  sender: Sender,
  { allow, code, now }: { allow: AllowList; code: () => string; now: number },
): Reduced<Access, Verdict> {
  const role = roleOf(before, sender.person.id, allow);
  const session = sessionOf(before, sender.chat);
  const refused = (reason: "stranger" | "groupNotBound") =>
    ({ document: before, answer: { state: "refused", reason } }) as const;
  if (sender.isGroup && session === undefined && role !== "owner") return refused("groupNotBound");
  if (role) return { document: before, answer: { state: "allowed", role, session } };
  // Whoever is in a group that an owner bound may speak in it.
  if (sender.isGroup)
    return { document: before, answer: { state: "allowed", role: "member", session } };
  return pairing(before, sender, { code, now });
}

function pairing(
  before: Access,
  { person, chat }: Sender,
  { code, now }: { code: () => string; now: number },
): Reduced<Access, Verdict> {
  const codes = before.codes.filter(({ expiresAt }) => expiresAt > now);
  const known = codes.find((each) => each.person.id === person.id);
  if (known) return { document: before, answer: { state: "pairing", code: known } };
  if (codes.length >= MAX_PENDING_CODES) {
    return { document: before, answer: { state: "refused", reason: "stranger" } };
  }
  const fresh: PairingCode = { code: code(), person, chat, expiresAt: now + CODE_TTL_MS };
  return {
    document: { ...before, codes: [...codes, fresh] },
    answer: { state: "pairing", code: fresh },
  };
}

/** Confirms a code. Throws `NotFound` for one that is wrong or over, `Busy` at the bound. */
export function approve(
  before: Access,
  { code, role, now }: { code: string; role: Person["role"]; now: number },
): Reduced<Access, Person> {
  const wanted = code.trim().toUpperCase();
  const found = before.codes.find((each) => each.code === wanted && each.expiresAt > now);
  if (!found) {
    throw new ArgusError(
      "NotFound",
      `There is no pairing code ${wanted} (any more): codes last an hour. Ask for a new one by writing to the bot.`,
    );
  }
  const person: Person = { ...found.person, role, addedAt: now };
  const codes = before.codes.filter((each) => each !== found);
  return { document: admit({ ...before, codes }, person), answer: person };
}

function admit(before: Access, person: Person): Access {
  const people = before.people.filter(({ id }) => id !== person.id);
  if (people.length >= MAX_PEOPLE) {
    throw new ArgusError("Busy", `${people.length} people may write already: remove one first.`);
  }
  return { ...before, people: [...people, person] };
}

/** Takes a person's access, and the bindings that the gateway made for it. False: there is no such person. */
export function remove(before: Access, id: string): Reduced<Access, boolean> {
  if (!before.people.some((person) => person.id === id)) return { document: before, answer: false };
  const people = before.people.filter((person) => person.id !== id);
  const codes = before.codes.filter(({ person }) => person.id !== id);
  return { document: { ...before, people, codes }, answer: true };
}

/** From now on the chat talks to the session. Throws `Busy` at the bound. */
export function bind(before: Access, binding: Binding): Access {
  const bindings = before.bindings.filter(({ chat }) => chat !== binding.chat);
  if (bindings.length >= MAX_BINDINGS) {
    throw new ArgusError("Busy", `${bindings.length} chats are bound already: unbind one first.`);
  }
  return { ...before, bindings: [...bindings, binding] };
}

/** The same object when the chat is not bound. */
export function unbind(before: Access, chat: string): Access {
  const bindings = before.bindings.filter((each) => each.chat !== chat);
  return bindings.length === before.bindings.length ? before : { ...before, bindings };
}

/** A chat got another id: a Telegram group that became a supergroup. */
export function migrateChat(before: Access, from: string, to: string): Access {
  const found = before.bindings.find(({ chat }) => chat === from);
  return found ? bind(unbind(before, from), { ...found, chat: to }) : before;
}

/** Letters and digits that nobody takes for another one; 32 of them, so each carries 5 bits. */
const ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/** A code of 8 characters from 8 random bytes. */
export function codeFrom(random: Uint8Array): string {
  return Array.from(random.subarray(0, 8), (byte) => ALPHABET[byte % ALPHABET.length] ?? "").join(
    "",
  );
}
