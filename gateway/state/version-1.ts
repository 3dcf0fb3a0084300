import { z } from "zod";
import { EndedInput, LaneInput } from "#protocol/lane-entry.ts";
import { emptyDocument } from "#protocol/session-document.ts";

const Version1 = z.object({
  schemaVersion: z.literal(1),
  name: z.string(),
  mainThread: z.string().nullable(),
  inputs: z.array(LaneInput.extend({ state: z.enum(["waiting", "started"]) })),
  ended: z.array(EndedInput),
});

/** A started message becomes the open turn. Throws what the schema says of a body that is none of version 1. */
export function fromVersion1(body: unknown): Readonly<Record<string, unknown>> {
  const data = Version1.parse(body);
  const { name, mainThread, ended } = data;
  // The schema of an input drops what it does not know.
  const inputs = data.inputs.map((input) => LaneInput.parse(input));
  const started = data.inputs.find(({ state }) => state === "started");
  const turn = started && {
    id: started.id,
    kind: "message",
    inputId: started.id,
    eventIds: [],
    threadId: started.threadId ?? mainThread,
    startedAt: started.enqueuedAt,
  };
  return { ...emptyDocument(name), mainThread, inputs, ended, turn: turn ?? null };
}
