import type { AdmitParams } from "#protocol/channel.ts";
import type { Inbound } from "./message.ts";

export interface AdmissionOptions {
  owners: string[];
  members: string[];
  mainSession: string;
}

/** Who asks, and where. */
export type Asking = Pick<Inbound, "person" | "chatKey" | "groupKey" | "isGroup">;

/** What the gateway is asked about somebody who writes or presses a button. Pure. */
export function admission(
  { person, chatKey, groupKey, isGroup }: Asking,
  { owners, members, mainSession }: AdmissionOptions,
  consent = false,
): AdmitParams {
  const session = isGroup
    ? `telegram-g${chatKey.replace(/^-/, "").replace(":", "-")}`
    : `telegram-${person.id}`;
  const allow = { owners, members };
  return { person, chatKey, groupKey, isGroup, consent, session, ownerSession: mainSession, allow };
}
