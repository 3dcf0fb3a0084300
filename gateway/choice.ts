import type { ArgusSession } from "#crds/kinds.ts";
import { CLOSE } from "#protocol/client.ts";
import type { Principal } from "./auth.ts";
import type { GatewayContext } from "./context.ts";

/** The session of a client that names none and whose token names none. */
export const MAIN_SESSION = "main";
const NEW = "new";

export type Choice =
  | { session: ArgusSession; attached: boolean; created: boolean }
  | { refused: { code: number; reason: string } };

const refuse = (code: number, reason: string): Choice => ({ refused: { code, reason } });
const UNKNOWN = refuse(CLOSE.policy, "Unknown session");
const FORBIDDEN = refuse(CLOSE.policy, "Forbidden");

/**
 * Which session a client gets: the one it names, `new` for a fresh one, else its token's, else `main`, made on first use.
 * Throws KubeError when the API server has to be asked and does not answer.
 */
export async function chooseSession(
  { auth, directory }: Pick<GatewayContext, "auth" | "directory">,
  principal: Principal,
  asked: string | undefined,
): Promise<Choice> {
  if (asked === NEW) {
    if (principal.kind !== "admin") return FORBIDDEN;
    return { session: await directory.createNew(), attached: false, created: true };
  }
  if (!asked && principal.kind === "admin") {
    return { ...(await directory.ensure(MAIN_SESSION)), attached: false };
  }
  const name = asked || ownSession(principal, (each) => auth.mayUse(principal, each));
  // A token for other sessions learns nothing about this one.
  if (name === undefined || !auth.mayUse(principal, name)) return FORBIDDEN;
  const session = await directory.find(name);
  return session ? { session, attached: asked !== undefined, created: false } : UNKNOWN;
}

function ownSession(principal: Principal, usable: (name: string) => boolean): string | undefined {
  if (principal.kind === "pod") return principal.session;
  return principal.kind === "client"
    ? principal.grants.find(({ name }) => usable(name))?.name
    : undefined;
}
