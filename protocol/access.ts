import { z } from "zod";

/** Bounds of who may write through channels; what happens at each stands in docs/bounds.md. */
export const MAX_PEOPLE = 500;
export const MAX_PENDING_CODES = 3;
export const CODE_TTL_MS = 60 * 60 * 1000;
export const MAX_BINDINGS = 2000;

/** A channel's own id of a person or chat, with its channel in front, for example `telegram:12345`. Names are never identities. */
export const ChannelId = z.string().regex(/^[a-z0-9-]{1,63}:[A-Za-z0-9_:.@-]{1,192}$/);

/** Somebody who may write to the agent. Times are ms since the epoch. */
export const Person = z.object({
  id: ChannelId,
  /** For people who read the list. */
  name: z.string().max(128),
  /** An owner also confirms codes, binds chats and answers approvals of every session. */
  role: z.enum(["owner", "member"]),
  addedAt: z.int(),
});
export type Person = z.infer<typeof Person>;

/** A stranger who asked; an owner confirms the code that the stranger was shown. */
export const PairingCode = z.object({
  code: z.string().regex(/^[A-Z2-9]{8}$/),
  person: z.object({ id: ChannelId, name: z.string().max(128) }),
  chat: ChannelId,
  expiresAt: z.int(),
});
export type PairingCode = z.infer<typeof PairingCode>;

/** Which session a chat talks to. A group's binding is its owner's consent. */
export const Binding = z.object({
  chat: ChannelId,
  /** Name of the ArgusSession. */
  session: z.string().min(1).max(253),
  /** Id of who bound it; empty = the gateway itself, for a private chat. */
  by: z.string().max(256),
  boundAt: z.int(),
});
export type Binding = z.infer<typeof Binding>;

export const Access = z.object({
  people: z.array(Person).max(MAX_PEOPLE),
  codes: z.array(PairingCode).max(MAX_PENDING_CODES),
  bindings: z.array(Binding).max(MAX_BINDINGS),
});
export type Access = z.infer<typeof Access>;

export const NO_ACCESS: Access = { people: [], codes: [], bindings: [] };

/** `argus/person/approve`. */
export const ApprovePersonParams = z.object({
  code: z.string().min(1).max(32),
  role: z.enum(["owner", "member"]).default("member"),
});

/** `argus/person/remove`. */
export const PersonParams = z.object({ id: ChannelId });

/** Answer of `argus/person/list`. */
export const PersonList = z.object({ people: z.array(Person), codes: z.array(PairingCode) });
