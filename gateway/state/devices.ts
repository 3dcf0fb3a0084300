import { ArgusError } from "#lib/errors.ts";
import {
  type Device,
  type DeviceSession,
  MAX_DEVICE_SESSIONS,
  MAX_DEVICES,
} from "#protocol/device.ts";
import type { Reduced } from "./document.ts";

// Which devices may connect, and which sessions may use them. Pure.

type Devices = Device[];
export type NewDevice = Pick<Device, "id" | "name" | "platform" | "publicKey">;

/** Lets the session use the device: a new one, or one with the same key. Throws `Conflict` for a taken id, `Busy` at the bound. */
export function admitDevice(
  before: Devices,
  device: NewDevice,
  { session, now }: { session: DeviceSession; now: number },
): Reduced<Devices, Device> {
  const known = before.find(({ id }) => id === device.id);
  if (known && known.publicKey !== device.publicKey) throw taken(device.id);
  if (!known && before.length >= MAX_DEVICES) {
    throw new ArgusError("Busy", `${before.length} devices are paired already: revoke one first.`);
  }
  const sessions = [...(known?.sessions ?? []).filter(({ uid }) => uid !== session.uid), session];
  if (sessions.length > MAX_DEVICE_SESSIONS) {
    throw new ArgusError("Busy", `${known?.sessions.length} sessions use this device already.`);
  }
  const admitted: Device = {
    ...device,
    sessions,
    // Who pairs again has lost its token.
    tokenHash: null,
    claimed: false,
    approvedAt: now,
    lastSeenAt: known?.lastSeenAt ?? null,
  };
  return { document: replaced(before, admitted), answer: admitted };
}

function taken(id: string): ArgusError {
  return new ArgusError(
    "Conflict",
    `Another device is paired as ${id}: revoke that one first, or pair this one with another --node-id.`,
    { node: id },
  );
}

/** A token for a confirmed device that has not used one yet. Undefined: it is not confirmed, or has its token. */
export function giveToken(
  before: Devices,
  { id, publicKey }: { id: string; publicKey: string },
  tokenHash: string,
): Reduced<Devices, Device | undefined> {
  const found = before.find((each) => each.id === id && each.publicKey === publicKey);
  if (!found || found.claimed) return { document: before, answer: undefined };
  const answer = { ...found, tokenHash };
  return { document: replaced(before, answer), answer };
}

/** The device connected, or was still there, at `now`. The same array when that says nothing new. */
export function seenDevice(before: Devices, id: string, now: number): Devices {
  const found = before.find((each) => each.id === id);
  if (!found || (found.claimed && now - (found.lastSeenAt ?? 0) < SEEN_MS)) return before;
  return replaced(before, { ...found, claimed: true, lastSeenAt: now });
}
/** How exactly it is remembered when a device was last seen. */
const SEEN_MS = 60_000;

/** Takes the device from one session, or (undefined) from all. Answers whether there was something to take. */
export function revokeDevice(
  before: Devices,
  id: string,
  sessionUid: string | undefined,
): Reduced<Devices, boolean> {
  const found = before.find((each) => each.id === id);
  if (!found) return { document: before, answer: false };
  const sessions = found.sessions.filter(
    ({ uid }) => sessionUid !== undefined && uid !== sessionUid,
  );
  if (sessions.length === found.sessions.length) return { document: before, answer: false };
  const others = before.filter((each) => each !== found);
  if (sessions.length === 0) return { document: others, answer: true };
  return { document: replaced(before, { ...found, sessions }), answer: true };
}

function replaced(before: Devices, device: Device): Devices {
  const index = before.findIndex(({ id }) => id === device.id);
  return index < 0 ? [...before, device] : before.with(index, device);
}
