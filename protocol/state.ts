import { z } from "zod";

/** Where the gateway's documents are listed; `/<uid>` is one of them. For admins. */
export const STATE_PATH = "/state/documents";

const StateRow = z.object({
  uid: z.string(),
  version: z.int(),
  /** Name of the session object with that UID; absent = there is none. */
  session: z.string().optional(),
});
export type StateRow = z.infer<typeof StateRow>;

/** Answer of `GET /state/documents`. */
export const StateList = z.object({
  documents: z.array(StateRow),
  /** Session objects that have no document yet. */
  sessionsWithout: z.array(z.object({ uid: z.string(), session: z.string() })),
});
export type StateList = z.infer<typeof StateList>;

/** Answer of `GET /state/documents/<uid>`. */
export const StateDocument = z.object({ uid: z.string(), version: z.int(), body: z.unknown() });
export type StateDocument = z.infer<typeof StateDocument>;

/** Body of `PUT /state/documents/<uid>`. */
export const StateWrite = z.object({
  body: z.looseObject({}),
  /** Also when that loses something. */
  replace: z.boolean().default(false),
});
export type StateWrite = z.infer<typeof StateWrite>;

/** A copy of the state is lines of JSON: a head, a line for each document, an end that tells a whole copy from a cut one. */
export const StateHead = z.object({ argusState: z.literal(1), takenAt: z.string() });
export const StateLine = z.object({
  uid: z.string(),
  name: z.string(),
  version: z.int(),
  /** Of the body's JSON, hex. */
  sha256: z.string(),
  body: z.looseObject({}),
});
export type StateLine = z.infer<typeof StateLine>;
export const StateEnd = z.object({ end: z.literal(true), documents: z.int() });
