import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { requestHeartbeat } from "../lanes/heartbeat.ts";
import type { Lane } from "../lanes/lane.ts";
import type { Method } from "./method.ts";

export const turnMethods: Record<string, Method> = {
  "argus/turn/cancel": cancelTurn,
  "argus/heartbeat/request": requestBeat,
};

const CancelParams = z.object({
  /** Of the turn, or of the message that it answers; without it whatever runs. */
  id: z.string().max(64).nullish(),
  reason: z.string().min(1).max(512).nullish(),
});

/** Stops the session's turn. Its sender is told; what was started by it is ended. */
async function cancelTurn(lane: Lane, params: unknown) {
  const { id, reason } = CancelParams.parse(params);
  const turn = await lane.stop(reason ?? "you asked for it.", id ?? undefined);
  if (!turn) throw new ArgusError("InvalidInput", "No turn is running in this session.");
  return { ok: true, cancelRequested: true, turn };
}

/** A heartbeat as soon as the lane is free; without tasks and events nothing happens. */
async function requestBeat(lane: Lane) {
  await lane.state.update(requestHeartbeat);
  lane.wake();
  return { ok: true };
}
