import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import type { Caller } from "./method.ts";

/** The session that is meant. Throws `NotFound`, `Forbidden` for one that the caller may not use. */
export async function namedSession(caller: Caller, name?: string): Promise<ArgusSession> {
  if (name === undefined) return await caller.session();
  const { auth, directory } = caller.context;
  if (!auth.mayUse(caller.principal, name)) {
    throw new ArgusError("Forbidden", `Your token does not open session ${name}.`);
  }
  const session = await directory.find(name);
  if (session) return session;
  throw new ArgusError("NotFound", `There is no session ${name}: \`argus sessions\` lists them.`);
}

/** Throws `Forbidden` for everybody but the owner. */
export function onlyOwner({ principal }: Caller, what: string): void {
  if (principal.kind === "admin") return;
  throw new ArgusError("Forbidden", `Only the owner's token may ${what}.`);
}
