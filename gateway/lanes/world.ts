import type { ArgusSession } from "#crds/kinds.ts";
import { type Clock, systemClock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { FileDesk } from "../channels/file-desk.ts";
import type { LaneContext } from "../context.ts";
import { dialBridge } from "../dial.ts";
import { bridgeAddress, isReady } from "../pod.ts";
import { statusWords } from "../session-status.ts";
import { LanePeer, type Link, type LinkEvents } from "./lane-peer.ts";

const WAITING = "Waiting until the cluster knows that the session is needed.";

/** What a lane needs of the world besides its document: time, its session, a bridge. A simulation has its own. */
export interface LaneWorld {
  clock: Clock;
  logger: Logger;
  /** The session as it is now; undefined = it is gone, or another object has its name. */
  session(): ArgusSession | undefined;
  /** From here on the session's deletion waits until its document is gone. Throws `NotFound`, or what the API server says. */
  hold(): Promise<void>;
  /** Why no turn may start now although the bridge could be asked, in words. */
  heldBy(): string | undefined;
  /** Its pod can be talked to. */
  isUp(): boolean;
  /** A connection to its bridge, or in words what that waits for. Throws what is worth another try. */
  reach(events: LinkEvents, signal: AbortSignal): Promise<Link | { waitsFor: string }>;
  /** Where files that came with a message are had. */
  files: Pick<FileDesk, "fetch">;
  /** Calls `handler` after each change of the session or its pod. Returns the unsubscribe function. */
  watch(handler: () => void): () => void;
}

/** The world of the gateway: the API server's objects and bridges in pods. */
export function clusterWorld(context: LaneContext, name: string, uid: string): LaneWorld {
  const { directory, keys, podTokens, logger } = context;
  const session = () => {
    const found = directory.session(name);
    return found?.metadata.uid === uid ? found : undefined;
  };
  const address = () => {
    const found = session();
    const pod = found && directory.podOf(found);
    return pod && isReady(pod) ? bridgeAddress(pod) : undefined;
  };
  const mayStart = () => {
    const found = session();
    return found !== undefined && context.keeper.mayStart(found);
  };
  return {
    clock: systemClock,
    logger,
    files: context.files,
    session,
    hold: () => context.keeper.guard(existing(session())),
    heldBy: () => (mayStart() ? undefined : WAITING),
    isUp: () => address() !== undefined,
    watch: (handler) => directory.watch(name, handler),
    reach: async (events, signal) => {
      const found = existing(session());
      const target = address();
      const pod = directory.podOf(found);
      if (!target) return { waitsFor: statusWords(found, pod, undefined).message };
      if (!mayStart()) return { waitsFor: WAITING };
      const bridge = await dialBridge({ address: target, role: "lane", keys, podTokens }, signal);
      return new LanePeer(bridge, events);
    },
  };
}

function existing(session: ArgusSession | undefined): ArgusSession {
  if (!session) throw new ArgusError("NotFound", "The session was deleted.");
  return session;
}
