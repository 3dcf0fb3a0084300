import { ArgusSessionSpec } from "#crds/argus-session.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import type { Problem } from "./plan.ts";

/** The session with every default in place. A spec that an older CRD let through is a problem, never a crash. */
export function checked(session: ArgusSession): { session: ArgusSession; wrong?: Problem } {
  const { data, error } = ArgusSessionSpec.safeParse(session.spec);
  if (data) return { session: { ...session, spec: data } };
  const fields = error.issues
    .slice(0, 5)
    .map(({ path, message }) => `${path.join(".")}: ${message}`);
  const message = `spec is not valid: ${fields.join("; ")}`;
  const wrong = { reason: "SpecInvalid", message, terminal: true };
  return { session: { ...session, spec: ArgusSessionSpec.parse({}) }, wrong };
}
