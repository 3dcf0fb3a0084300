import type { Lane } from "../lanes/lane.ts";

/** One `argus/*` method: the session's lane and the params in, the result out. Throws `ArgusError` or the schema's error. */
export type Method = (lane: Lane, params: unknown) => Promise<unknown>;
