import { ArgusError } from "#lib/errors.ts";
import {
  type MainThread,
  OfSession,
  ResetThreadParams,
  SetThreadParams,
} from "#protocol/session-methods.ts";
import type { Lane } from "../lanes/lane.ts";
import { type Link, Refused } from "../lanes/lane-peer.ts";
import { withLink } from "../lanes/main-thread.ts";
import { startThread } from "../lanes/turn.ts";
import { changeThread, firstThread } from "../state/threads.ts";
import type { Caller, CallerMethod } from "./method.ts";
import { namedSession } from "./named-session.ts";

export const threadMethods: Record<string, CallerMethod> = {
  "argus/thread/main/ensure": ensure,
  "argus/thread/main/set": set,
  "argus/thread/main/reset": reset,
};

/** The session's main thread; made when there is none, for which the session is woken. */
async function ensure(caller: Caller, params: unknown): Promise<MainThread> {
  const { session } = OfSession.parse(params);
  return await onLane(caller, session, async (lane, linked) => {
    const known = lane.state.current.mainThread;
    if (known !== null) return { threadId: known, created: false };
    const made = await linked(startThread);
    const threadId = await lane.state.reduce((document) => firstThread(document, made));
    return { threadId, created: threadId === made };
  });
}

/** Another thread of the session is the main one from now on; one that the agent does not have is refused. */
async function set(caller: Caller, params: unknown) {
  const { session, threadId } = SetThreadParams.parse(params);
  return await onLane(caller, session, async (lane, linked) => {
    await linked((link) => demandThread(link, threadId));
    const { former } = await lane.state.reduce((document) => changeThread(document, { threadId }));
    lane.wake();
    return { ok: true, threadId, former };
  });
}

/** A new conversation: the next message makes its thread. The old one stays in the agent's history. */
async function reset(caller: Caller, params: unknown) {
  const { session, key } = ResetThreadParams.parse(params);
  const lane = await caller.context.lanes.of(await namedSession(caller, session));
  const change = { threadId: null, key };
  const { former, changed } = await lane.state.reduce((document) => changeThread(document, change));
  return { ok: true, threadId: null, former: changed ? former : null, repeated: !changed };
}

async function demandThread(link: Link, threadId: string): Promise<void> {
  try {
    await link.request("thread/read", { threadId });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const message = `The session has no thread ${threadId}: ${error.message}`;
    throw new ArgusError("InvalidInput", message, { threadId });
  }
}

type Linked = <T>(use: (link: Link) => Promise<T>) => Promise<T>;

/** As long as `run` takes the session is needed: a cold one is woken for it. */
async function onLane<T>(
  caller: Caller,
  name: string | undefined,
  run: (lane: Lane, linked: Linked) => Promise<T>,
): Promise<T> {
  const { lanes, keeper } = caller.context;
  const session = await namedSession(caller, name);
  const lane = await lanes.of(session);
  return await run(lane, async (use) => {
    const ended = keeper.useOf(session).enter();
    try {
      return await withLink(lane, use);
    } finally {
      ended();
    }
  });
}
