import { z } from "zod";

/** Bounds of the devices that owners took in; what happens at each stands in docs/bounds.md. */
export const MAX_DEVICES = 1000;
export const MAX_DEVICE_SESSIONS = 32;

/** A session object that may use a device. The uid keeps a re-created name from inheriting it. */
export const DeviceSession = z.object({
  name: z.string().min(1).max(253),
  uid: z.string().min(1).max(64),
});
export type DeviceSession = z.infer<typeof DeviceSession>;

/** A device that an owner took in. Times are ms since the epoch. */
export const Device = z.object({
  id: z.string().min(1).max(128),
  /** For people who read the list. */
  name: z.string().max(256),
  platform: z.string().max(256),
  /** Ed25519, base64url: the same device may ask for its token again until it has used it. */
  publicKey: z.string().max(64),
  sessions: z.array(DeviceSession).min(1).max(MAX_DEVICE_SESSIONS),
  /** SHA-256 of its token, hex; null = it was confirmed and has none yet. */
  tokenHash: z.string().length(64).nullable(),
  /** It has connected with that token. */
  claimed: z.boolean(),
  approvedAt: z.int(),
  lastSeenAt: z.int().nullable(),
});
export type Device = z.infer<typeof Device>;
