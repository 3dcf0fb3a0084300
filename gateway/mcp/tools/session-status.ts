import { z } from "zod";
import { isReady } from "../../pod.ts";
import { statusWords } from "../../session-status.ts";
import { tool } from "../tool.ts";

/** `session_status`: what the caller's own session does and what waits in it. */
export const sessionStatus = tool({
  name: "session_status",
  title: "Session status",
  description:
    "Tells about this session: whether it is ready, what its current turn is about, and how many messages, events and replies wait.",
  input: z.strictObject({}),
  run: async (_, { context, session }) => {
    const { name } = session.metadata;
    const { state, waitsFor } = await context.lanes.of(session);
    const { inputs, events, deliveries, turn, mainThread, home } = state.current;
    const pod = context.directory.podOf(session);
    const isReadyNow = pod !== undefined && isReady(pod);
    return {
      structured: {
        ok: true,
        sessionId: name,
        selfNodeId: `runtime:${name}`,
        mainThreadId: mainThread,
        ready: isReadyNow,
        status: isReadyNow ? "ready" : statusWords(session, pod, undefined).message,
        turn: turn && { kind: turn.kind, startedAtMs: turn.startedAt },
        waitingMessages: inputs.length,
        waitingEvents: events.length,
        waitingReplies: deliveries.length,
        waitsFor,
        chat: home,
      },
    };
  },
});
