import { ArgusError } from "#lib/errors.ts";
import {
  CHANNEL_FILE,
  GetOutParams,
  GetOutResult,
  NoFileParams,
  PieceParams,
} from "#protocol/channel-files.ts";
import { BRIDGE_FILE } from "#protocol/workspace-files.ts";
import { Refused } from "../lanes/lane-peer.ts";
import type { AdapterConnection } from "./adapter-connection.ts";
import type { AdapterMethod } from "./adapter-frames.ts";
import { holding } from "./holding.ts";

/** What an adapter asks for about files. */
export const FILE_METHODS: Record<string, AdapterMethod> = {
  [CHANNEL_FILE.piece]: piece,
  [CHANNEL_FILE.none]: none,
  [CHANNEL_FILE.get]: getOut,
};

async function piece(connection: AdapterConnection, params: unknown) {
  const { channel, channels } = connection;
  await channels.options.files.piece(connection, channel, PieceParams.parse(params));
  return { ok: true };
}

async function none({ channel, channels }: AdapterConnection, params: unknown) {
  channels.options.files.refuse(channel, NoFileParams.parse(params));
  return { ok: true };
}

/** From the workspace of the delivery's own session, and of no other. */
async function getOut(connection: AdapterConnection, params: unknown): Promise<GetOutResult> {
  const { deliveryId, ...wanted } = GetOutParams.parse(params);
  const { signal } = connection.channels.options;
  const { lane } = holding(connection, deliveryId);
  try {
    return GetOutResult.parse(await lane.ask(BRIDGE_FILE.get, wanted, signal));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new ArgusError("NotFound", error.message, { path: wanted.path }, { cause: error });
  }
}
