import { ArgusError } from "#lib/errors.ts";
import type { Listening } from "#lib/running.ts";
import { startHttp } from "./http.ts";
import type { GatewayOptions } from "./options.ts";

/**
 * Lets clients reach sessions and owns the durable state. Resolves when it is ready; until then `/healthz` answers
 * and `/readyz` says what it waits for. Aborting closes clients with 1001, then the store.
 * Throws `InvalidInput` without an admin token: there is no open gateway.
 */
export async function startGateway(
  options: GatewayOptions,
  signal: AbortSignal,
): Promise<Listening> {
  if (!options.adminToken) {
    throw new ArgusError(
      "InvalidInput",
      "The gateway needs an admin token: an open gateway would let anyone run commands. Set one and start again.",
    );
  }
  return startHttp(options, signal);
}
