import { z } from "zod";
import { MAX_PEOPLE } from "./access.ts";
import { Delivery, EndedDelivery, MAX_PARTS, SendMode } from "./delivery.ts";
import { Attachment, MAX_ATTACHMENTS, MAX_REASON } from "./lane-entry.ts";
import { SessionName } from "./session-methods.ts";

// What a channel's adapter and the gateway say to each other on /channels/ws; docs/channels.md tells the rules.

export const CHANNELS_PATH = "/channels/ws";
/** Service account whose pods may be adapters. */
export const ADAPTER_ACCOUNT = "argus-bot";
/** A claim that its adapter neither renews nor ends is free after this. */
export const LEASE_MS = 60_000;
/** A channel that wants a longer pause before a part is asked again after this one. */
export const MAX_PAUSE_MS = 24 * 60 * 60 * 1000;
/** Deliveries that one adapter may hold at once. */
export const MAX_HELD = 64;

const Name = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "lower-case letters, digits, dashes");
const DeliveryId = z.string().min(1).max(64);
const PartNumber = z
  .int()
  .min(0)
  .max(MAX_PARTS - 1);

/** The first frame. With `epoch` a process that lost its connection goes on; without it a new process begins. */
export const HelloParams = z.object({
  channel: Name,
  /** The same over all restarts of the adapter; no two processes at once have it. */
  adapter: Name,
  epoch: z.int().min(1).optional(),
  /** Deliveries that the process is at; its other claims are given back. */
  holding: z.array(DeliveryId).max(MAX_HELD).default([]),
  /** It shows questions to people and brings their answers. */
  asks: z.boolean().default(false),
});
export type HelloParams = z.infer<typeof HelloParams>;

export const HelloResult = z.object({
  epoch: z.int().min(1),
  leaseMs: z.int().min(1000),
  /** Deliveries that it may hold at once. */
  maxHeld: z.int().min(1),
  /** Of those that it named: what it still holds, as it stands on the gateway's disk. */
  held: z.array(Delivery),
});
export type HelloResult = z.infer<typeof HelloResult>;

/** Answer of `delivery/next`: the first delivery that may be sent; it is the caller's for `leaseMs`. */
export const NextResult = z.object({
  sessionId: z.string(),
  delivery: Delivery,
});
export type NextResult = z.infer<typeof NextResult>;

/** `delivery/sending`: from its answer on the part's request may leave. A repeat is answered the same. */
export const SendingParams = z.object({
  deliveryId: DeliveryId,
  /** Number of the part, from 0. */
  part: PartNumber,
  parts: z.int().min(1).max(MAX_PARTS),
  mode: SendMode,
});

/** What became of a part's request. */
export const PartOutcome = z.discriminatedUnion("state", [
  /** `ref`: the channel's name of what it showed; never empty. */
  z.object({ state: z.literal("sent"), ref: z.string().min(1).max(128) }),
  /** Nothing was sent: no byte left, or the channel answered an error. */
  z.object({
    state: z.literal("notSent"),
    reason: z.string().max(MAX_REASON),
    retryAfterMs: z.int().min(0).max(MAX_PAUSE_MS).optional(),
    /** The message that was to be edited is gone: the part comes as one of its own. */
    editLost: z.boolean().optional(),
  }),
  /** The request left and no answer came. */
  z.object({ state: z.literal("unknown"), reason: z.string().max(MAX_REASON) }),
  /** The channel will never take it: the chat is gone or blocked. */
  z.object({ state: z.literal("refused"), reason: z.string().max(MAX_REASON) }),
]);
export type PartOutcome = z.infer<typeof PartOutcome>;

/** `delivery/outcome`. `refused` may come without `delivery/sending`: then nothing was sent. */
export const OutcomeParams = z.object({
  deliveryId: DeliveryId,
  part: PartNumber,
  outcome: PartOutcome,
});

/** `delivery`: go on with its next part. `ended`: it is over. Neither: it waits and will be offered again. */
export const OutcomeResult = z.object({
  delivery: Delivery.optional(),
  ended: EndedDelivery.optional(),
});
export type OutcomeResult = z.infer<typeof OutcomeResult>;

/** `delivery/renew` and `delivery/release`. */
export const HeldParams = z.object({ deliveryIds: z.array(DeliveryId).min(1).max(MAX_HELD) });

/** Answer of both. `lost`: what the caller does not hold (any more). */
export const HeldResult = z.object({ lost: z.array(z.string()) });
export type HeldResult = z.infer<typeof HeldResult>;

/** A channel's own id of a person, without the channel in front. */
const PersonId = z.string().min(1).max(192);
const AllowedPeople = z.object({
  owners: z.array(PersonId).max(MAX_PEOPLE).default([]),
  members: z.array(PersonId).max(MAX_PEOPLE).default([]),
});

/** The message replies to the channel's message `ref`: where that one asks something, `text` is the answer. */
const ReplyParams = z.object({
  ref: z.string().min(1).max(128),
  /** The question that stands in that message, as far as the channel can tell: its `ref` may not be known yet. */
  question: z.string().max(512).optional(),
  /** The person's words alone. */
  text: z.string(),
  isGroup: z.boolean(),
  person: z.object({ id: PersonId, name: z.string().max(128) }),
  allow: AllowedPeople.prefault({}),
});

/** `channel/input`: a person's message. A repeat of `key` is the same message. */
export const InputParams = z.object({
  /** Absent = the session that the chat is bound to. */
  sessionId: z.string().min(1).max(253).optional(),
  chatKey: z.string().min(1).max(192),
  /** The gateway puts the channel's name in front: two channels may number alike. */
  key: z.string().min(1).max(440),
  text: z.string(),
  attachments: z.array(Attachment).max(MAX_ATTACHMENTS).optional(),
  reply: ReplyParams.optional(),
});
export type InputParams = z.input<typeof InputParams>;

export const InputResult = z.object({
  sessionId: z.string(),
  inputId: z.string(),
  /** What has to end before it. */
  ahead: z.int(),
  /** The key was known: nothing new was accepted. */
  repeated: z.boolean(),
  waitsFor: z.string(),
  /** It answered a question, and starts no turn of its own. */
  answered: z.boolean().optional(),
});
export type InputResult = z.infer<typeof InputResult>;

/** `channel/admit`: may this person write here, and to which session? */
export const AdmitParams = z.object({
  person: z.object({ id: PersonId, name: z.string().max(128) }),
  chatKey: z.string().min(1).max(192),
  /** The chat that a topic is part of; an owner consents to it once for all topics. Absent = the chat itself. */
  groupKey: z.string().min(1).max(192).optional(),
  isGroup: z.boolean(),
  /** An owner wants the agent in this group. */
  consent: z.boolean().default(false),
  /** Session that the chat gets when it has none yet; made when there is none. */
  session: SessionName,
  /** The same for an owner's private chat. */
  ownerSession: SessionName.optional(),
  /** People whom the channel's configuration names: they need no code. */
  allow: AllowedPeople.prefault({}),
});
export type AdmitParams = z.input<typeof AdmitParams>;

export const AdmitResult = z.discriminatedUnion("state", [
  z.object({
    state: z.literal("allowed"),
    role: z.enum(["owner", "member"]),
    sessionId: z.string(),
  }),
  /** The stranger is shown this code; an owner confirms it. */
  z.object({ state: z.literal("pairing"), code: z.string() }),
  /** `stranger`, `groupNotBound`: nothing is said. `askConsent`: its owner may consent. */
  z.object({
    state: z.literal("refused"),
    reason: z.enum(["stranger", "groupNotBound", "askConsent"]),
  }),
]);
export type AdmitResult = z.infer<typeof AdmitResult>;

/** `channel/approve`: an owner confirms a stranger's code. */
export const ApproveParams = z.object({
  /** Who confirms. */
  personId: PersonId,
  code: z.string().max(32),
  role: z.enum(["owner", "member"]).default("member"),
  allow: AllowedPeople.prefault({}),
});
export const ApproveResult = z.object({ name: z.string(), chat: z.string() });

/** `channel/call`: an `argus/*` method about the chat's session, with no more rights than a client of it. */
export const ChatCallParams = z.object({
  chatKey: z.string().min(1).max(192),
  method: z.string().max(128),
  params: z.record(z.string(), z.unknown()).default({}),
  /** Who asks; an owner may ask for more. */
  personId: PersonId.optional(),
  allow: AllowedPeople.prefault({}),
});

/** `channel/switch`: an owner lets the chat talk to another session that there is. */
export const SwitchParams = z.object({
  chatKey: z.string().min(1).max(192),
  session: z.string().min(1).max(253),
  personId: PersonId,
  allow: AllowedPeople.prefault({}),
});
export const SwitchResult = z.object({ sessionId: z.string(), former: z.string().nullable() });

/** `channel/moved`: a chat has another key from now on; its binding goes with it. */
export const MovedParams = z.object({
  from: z.string().min(1).max(192),
  to: z.string().min(1).max(192),
});

/** `channel/shown`: a message of the channel shows what the turn does. `kept` false: the turn is over, nothing takes its place. */
export const ShownParams = z.object({
  chatKey: z.string().min(1).max(192),
  sessionId: z.string().min(1).max(253),
  inputId: z.string().min(1).max(64),
  ref: z.string().min(1).max(128),
});
export const ShownResult = z.object({ kept: z.boolean() });

export const CHANNEL = {
  hello: "channel/hello",
  input: "channel/input",
  admit: "channel/admit",
  approve: "channel/approve",
  call: "channel/call",
  switch: "channel/switch",
  moved: "channel/moved",
  shown: "channel/shown",
  next: "delivery/next",
  sending: "delivery/sending",
  outcome: "delivery/outcome",
  renew: "delivery/renew",
  release: "delivery/release",
  /** To the adapter, params {@link EndedNotice}: news, not a promise; the delivery is the promise. */
  ended: "channel/ended",
  /** To the adapter, params {@link ProgressNotice}. */
  progress: "channel/progress",
} as const;

/** A message of the channel has ended. */
export const EndedNotice = z.object({
  sessionId: z.string(),
  chatKey: z.string(),
  inputId: z.string(),
  key: z.string(),
  state: z.enum(["done", "failed", "interrupted", "cancelled", "unknown"]),
  reason: z.string(),
});
export type EndedNotice = z.infer<typeof EndedNotice>;

/** A message's turn runs; `words` says what it does. */
export const ProgressNotice = z.object({
  sessionId: z.string(),
  chatKey: z.string(),
  inputId: z.string(),
  words: z.string(),
});
export type ProgressNotice = z.infer<typeof ProgressNotice>;

/** `error.data` of a refusal: the kind, as everywhere in Argus. `Busy`, `Unavailable`, `Timeout`, `Internal`: try again. */
export const Refusal = z.object({ code: z.string() });

/** A newer process of the adapter has said hello: this one is refused for good. */
export const SUPERSEDED = "Superseded: a newer process of this adapter has said hello";
