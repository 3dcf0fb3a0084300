import { createHash } from "node:crypto";
import { z } from "zod";
import { addDelivery } from "../../state/deliveries.ts";
import { hasDelivery, roomForAnswer } from "../../state/room.ts";
import { failure, tool } from "../tool.ts";

const MAX_TEXT = 16 * 1024;

/** `send_message`: words to the session's own chat, outside of a turn's answer. */
export const sendMessage = tool({
  name: "send_message",
  title: "Send a message",
  description:
    "Sends a message to the chat that this session belongs to, now, before the turn ends: for progress of long work. The turn's answer is sent by itself; do not repeat it. Markdown; a line `MEDIA: path` sends that file of the workspace.",
  input: z.strictObject({ text: z.string().trim().min(1).max(MAX_TEXT) }),
  run: async ({ text }, { context, session, callId }) => {
    const lane = await context.lanes.of(session);
    const { turn, inputs, home } = lane.state.current;
    const asker = inputs.find(({ id }) => id === turn?.inputId)?.source;
    const target = asker ?? home;
    if (!target) {
      return failure(
        "NOT_READY",
        "No chat is bound to this session: nobody would read the message.",
      );
    }
    const id = `msg-${createHash("sha256").update(callId).digest("hex").slice(0, 40)}`;
    const { limit } = lane;
    const outcome = await lane.state.reduce((document) => {
      if (hasDelivery(document, id)) return { document, answer: "sent" } as const;
      if (roomForAnswer(document, limit) < 2 * MAX_TEXT)
        return { document, answer: "full" } as const;
      const facts = {
        kind: "message",
        inputId: null,
        threadId: null,
        turnId: null,
        canRetry: false,
      } as const;
      const added = addDelivery(document, { id, target, text, ...facts, now: Date.now(), limit });
      return { document: added.document, answer: "sent" } as const;
    });
    if (outcome === "full")
      return failure("BUSY", "Too many replies wait to be sent: try again later.");
    return { structured: { ok: true, messageId: id } };
  },
});
