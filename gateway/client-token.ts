import { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import type { KeyRing } from "./key-ring.ts";

const AUDIENCE = "argus-client";
const ISSUER = "argus-gateway";
export const DEFAULT_TTL_SECONDS = 24 * 3600;
export const MAX_TTL_SECONDS = 365 * 24 * 3600;

/** What a token says about one session. The uid keeps a re-created name from inheriting it. */
export const Grant = z.object({
  name: z.string().max(253),
  uid: z.string().max(64),
  /** The session's tokenGeneration at issue; a higher one revokes the token. */
  generation: z.int().min(0),
});
export type Grant = z.infer<typeof Grant>;

/** Whose token it is, for people who read what was decided with it. */
const PersonName = z
  .string()
  .trim()
  .min(1)
  .max(64)
  .regex(/^[^\p{C}]+$/u, "give a name without control characters");

const ClientClaims = z.object({
  kind: z.literal("client"),
  person: PersonName.optional(),
  sessions: z.array(Grant).min(1).max(32),
  /** Seconds since the epoch. */
  exp: z.int(),
});

/** Body of `POST /tokens`. */
export const TokenRequest = z.object({
  kind: z.literal("client").default("client"),
  person: PersonName.optional(),
  sessions: z.array(z.string().min(1).max(253)).min(1).max(32),
  ttlSeconds: z.int().min(1).max(MAX_TTL_SECONDS).default(DEFAULT_TTL_SECONDS),
});
export type TokenRequest = z.infer<typeof TokenRequest>;

export interface IssueContext {
  keys: KeyRing;
  session: (name: string) => ArgusSession | undefined;
  /** Milliseconds since the epoch. */
  now: number;
}

/** Signs a token for these sessions. Throws `NotFound` naming the first that does not exist. */
export async function issueClientToken(
  { sessions, ttlSeconds, person }: TokenRequest,
  { keys, session, now }: IssueContext,
): Promise<{ token: string; expiresAt: string }> {
  const grants = sessions.map((name) => grant(name, session(name)));
  const iat = Math.floor(now / 1000);
  const exp = iat + ttlSeconds;
  const about = { iss: ISSUER, aud: AUDIENCE, kind: "client", sessions: grants, iat, exp };
  const claims = { ...about, ...(person === undefined ? {} : { person }) };
  return {
    token: await keys.signKept(claims),
    expiresAt: new Date(exp * 1000).toISOString(),
  };
}

function grant(name: string, session: ArgusSession | undefined): Grant {
  if (!session?.metadata.uid) {
    throw new ArgusError("NotFound", `There is no session ${name}: create it first.`, {
      session: name,
    });
  }
  return { name, uid: session.metadata.uid, generation: session.spec.tokenGeneration };
}

/** Sessions, expiry (ms) and person of a client token; undefined when it is not one of ours or has expired. */
export async function readClientToken(
  token: string,
  keys: KeyRing,
): Promise<{ grants: Grant[]; expiresAt: number; person?: string } | undefined> {
  const claims = ClientClaims.safeParse(await keys.verify(token, AUDIENCE));
  if (!claims.success) return undefined;
  const { sessions: grants, exp, person } = claims.data;
  return { grants, expiresAt: exp * 1000, ...(person === undefined ? {} : { person }) };
}

/** Whether a grant still opens this session. */
export function grantHolds(grant: Grant, session: ArgusSession): boolean {
  return (
    grant.uid === session.metadata.uid && grant.generation >= (session.spec.tokenGeneration ?? 0)
  );
}
