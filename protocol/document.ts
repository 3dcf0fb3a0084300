import { z } from "zod";
import { Access, NO_ACCESS } from "./access.ts";
import { Device, MAX_DEVICES } from "./device.ts";

/** An Ed25519 key pair of the gateway. Times are milliseconds since the epoch. */
export const GatewayKey = z.object({
  /** Key id: the `kid` of its tokens and its file name in the pods. */
  id: z.string().regex(/^[a-z0-9-]{1,63}$/),
  /** SPKI PEM. */
  publicKey: z.string(),
  /** PKCS #8 PEM. */
  privateKey: z.string(),
  createdAt: z.int(),
  /** When the pods' ConfigMap first held it; null = not yet. */
  publishedAt: z.int().nullable(),
  /** When a newer key took over signing; null = it may still sign. */
  retiredAt: z.int().nullable(),
  /** Latest expiry of a client token signed with it: until then it must verify. */
  neededUntil: z.int(),
});
export type GatewayKey = z.infer<typeof GatewayKey>;

/** Adapters whose epoch is remembered; what happens at the bound stands in docs/bounds.md. */
export const MAX_ADAPTERS = 64;

/** Which process of each channel adapter is the living one. */
export const Adapters = z.object({
  /** The newest that was given to anybody. */
  epoch: z.int().min(0),
  /** The one that was heard of longest ago first. */
  known: z.array(z.object({ name: z.string().max(128), epoch: z.int().min(1) })).max(MAX_ADAPTERS),
});
export type Adapters = z.infer<typeof Adapters>;
export const NO_ADAPTERS: Adapters = { epoch: 0, known: [] };

/** Titles of sessions; what happens at the bound stands in docs/bounds.md. */
export const MAX_TITLES = 2000;

/** What people call a session; by the object's UID, so that a successor of its name has none. */
export const SessionTitle = z.object({
  uid: z.string().min(1).max(64),
  title: z.string().min(1).max(128),
});
export type SessionTitle = z.infer<typeof SessionTitle>;

/** The gateway document: state that belongs to no single session. */
export const GatewayDocument = z.object({
  schemaVersion: z.literal(1),
  /** Counts the gateway's starts; bridges serve only the highest they have seen. */
  epoch: z.int().min(0),
  keys: z.array(GatewayKey).max(16),
  /** Who may write through channels, and which chat talks to which session. */
  access: Access.default(NO_ACCESS),
  adapters: Adapters.default(NO_ADAPTERS),
  titles: z.array(SessionTitle).max(MAX_TITLES).default([]),
  /** Devices that may connect to `/nodes/ws`. */
  devices: z.array(Device).max(MAX_DEVICES).default([]),
});
export type GatewayDocument = z.infer<typeof GatewayDocument>;
