import { z } from "zod";
import { GetFileResult, PutFileParams } from "./workspace-files.ts";

// Files between a channel and a session's workspace; docs/channels.md tells the rules.

/** Notice to the adapter: hand in this file of the channel, from its beginning. */
export const FetchNotice = z.object({
  fetchId: z.string().max(64),
  /** As the attachment of the message has it. */
  fileId: z.string().max(512),
  chatKey: z.string(),
  /** More is not taken. */
  maxBytes: z.int(),
});
export type FetchNotice = z.infer<typeof FetchNotice>;

/** A piece of it; its answer comes when the workspace has it. */
export const PieceParams = z.object({
  fetchId: z.string().max(64),
  ...PutFileParams.pick({ offset: true, data: true, last: true }).shape,
});
export type PieceParams = z.infer<typeof PieceParams>;

/** It cannot be handed in; `reason` is for the person who sent it. */
export const NoFileParams = z.object({ fetchId: z.string().max(64), reason: z.string().max(512) });

/** A piece of a file that the agent's answer names; only while the caller holds the delivery. */
export const GetOutParams = z.object({
  deliveryId: z.string().min(1).max(64),
  path: z.string().min(1).max(1024),
  offset: z.int().min(0),
});
export const GetOutResult = GetFileResult;
export type GetOutResult = z.infer<typeof GetOutResult>;

export const CHANNEL_FILE = {
  fetch: "channel/file/fetch",
  piece: "channel/file/piece",
  none: "channel/file/none",
  get: "channel/file/get",
} as const;
