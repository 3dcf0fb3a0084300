import { z } from "zod";
import { TurnDefaults } from "./bridge.ts";

/** First frame on `/ws`: `{"method":"argus/session","params":{…}}`. */
export const SessionParams = z.object({
  id: z.string(),
  mode: z.literal("kubernetes"),
  /** A session was named by the client. */
  attached: z.boolean(),
  /** This connection created it. */
  created: z.boolean(),
  /** Of the bridge; null while it is not reachable yet (then argus/status brings them). */
  boot: z.string().nullable(),
  seq: z.int().nullable(),
  echo: z.boolean().optional(),
  defaults: TurnDefaults.optional(),
  /** What a person should know before the first turn. */
  warning: z.string().optional(),
});
export type SessionParams = z.infer<typeof SessionParams>;

/** `argus/status`: where the session stands, in words that a person can read. */
export const StatusParams = z.object({
  id: z.string(),
  state: z.enum(["starting", "ready", "unavailable"]),
  /** Why it is not ready and what it waits for. */
  message: z.string(),
  boot: z.string().nullable(),
  seq: z.int().nullable(),
  echo: z.boolean().optional(),
  defaults: TurnDefaults.optional(),
  /** What a person should know before the first turn. */
  warning: z.string().optional(),
});
export type StatusParams = z.infer<typeof StatusParams>;

/** Close codes on `/ws`; the reason says what to do. */
export const CLOSE = {
  normal: 1000,
  /** The gateway stops: reconnect with session, boot and after. */
  goingAway: 1001,
  /** Binary frame. */
  unsupported: 1003,
  /** Text that is not UTF-8. */
  badText: 1007,
  /** `Unauthorized`, `Forbidden` or `Unknown session`. */
  policy: 1008,
  tooBig: 1009,
  /** A defect of ours, or the session could not be provisioned. */
  internal: 1011,
  /** The bridge connection ended or this peer was too slow: reconnect with session, boot and after. */
  serviceRestart: 1012,
  tryAgainLater: 1013,
} as const;

/** A row of `GET /sessions`. */
export const SessionRow = z.object({
  sessionId: z.string(),
  containerId: z.string(),
  name: z.string(),
  status: z.string(),
  runtimeLayout: z.string(),
  ready: z.boolean(),
  reason: z.string(),
  message: z.string(),
  createdAt: z.string().optional(),
  /** What people call it. */
  title: z.string().optional(),
});
export type SessionRow = z.infer<typeof SessionRow>;

/** `POST` here with the admin's or a client's token: one `argus/*` method. Answers `{"result"}`, or `{"detail"}` with an HTTP error. */
export const CALL_PATH = "/call";
export const CallRequest = z.strictObject({
  method: z.string().regex(/^argus\/[A-Za-z/]{1,64}$/, "the name of an argus/* method"),
  params: z.record(z.string(), z.unknown()).default({}),
  /** Without it: the session that the token names, else `main`, made on first use. */
  session: z.string().min(1).max(253).optional(),
});
