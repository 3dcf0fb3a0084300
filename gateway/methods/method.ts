import type { ArgusSession } from "#crds/kinds.ts";
import type { Principal } from "../auth.ts";
import type { GatewayContext } from "../context.ts";
import type { Lane } from "../lanes/lane.ts";
import type { ClientStreams } from "../nodes/client-streams.ts";

/** One `argus/*` method: the session's lane and the params in, the result out. Throws `ArgusError` or the schema's error. */
export type Method = (lane: Lane, params: unknown, caller: Caller) => Promise<unknown>;

/** Who asks, and where. */
export interface Caller {
  context: GatewayContext;
  principal: Principal;
  /** The session that the caller is attached to. Throws when it names none. */
  session: () => Promise<ArgusSession>;
  /** Where output of nodes goes; only of a client with a connection. */
  streams?: () => ClientStreams;
}

/** A method that is about sessions, not about what waits in one. */
export type CallerMethod = (caller: Caller, params: unknown) => Promise<unknown>;
