import type { ArgusSession } from "#crds/kinds.ts";
import { backoffMs } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { CLOSE } from "#protocol/client.ts";
import type { Attachment } from "./attachment.ts";
import type { Principal } from "./auth.ts";
import type { GatewayContext } from "./context.ts";
import { dialBridge, type GreetedBridge } from "./dial.ts";
import { type BridgeAddress, bridgeAddress, isReady } from "./pod.ts";
import { statusWords } from "./session-status.ts";

/** The first frame waits at most this long for the bridge. */
const FIRST_FRAME_MS = 1500;
/** Without any change the session is looked at again after this. */
const LOOK_AGAIN_MS = 30_000;
const RETRY = { baseMs: 250, maxMs: 5000 };

export interface EstablishOptions {
  context: GatewayContext;
  attachment: Attachment;
  principal: Principal;
  /** The session object that was chosen; the cache may not have it yet. */
  session: ArgusSession;
  resume?: { boot: string; after: number };
}

/** Keeps a client informed until its session's bridge is there, then joins them, and ends it when its right ends. */
export async function establish(options: EstablishOptions): Promise<void> {
  const { attachment, context } = options;
  const watch = new Watch(options);
  attachment.whenEnded(() => watch.stop());
  const first = setTimeout(() => attachment.announce(), FIRST_FRAME_MS);
  try {
    const bridge = await reach(options, watch);
    if (bridge && attachment.gone.aborted) bridge.destroy();
    else if (bridge) attachment.join(bridge);
  } catch (error) {
    if (attachment.gone.aborted) return;
    context.logger.error({ error: errorMessage(error) }, "attaching a client failed");
    attachment.close(CLOSE.internal, "The gateway failed; reconnect");
  } finally {
    clearTimeout(first);
  }
}

/** Dials until it works; undefined when the client was closed meanwhile or the gateway stops. */
async function reach(options: EstablishOptions, watch: Watch): Promise<GreetedBridge | undefined> {
  const { context, attachment } = options;
  const over = () => attachment.gone.aborted || watch.ended || context.signal.aborted;
  for (let attempt = 0; !over(); attempt += 1) {
    const { session, pod, address } = watch.look();
    const dialled = address && (await dial(options, address));
    if (dialled && "bridge" in dialled) {
      if (context.directory.podByUid(address.podUid)) return dialled.bridge;
      // Its pod was deleted while we dialled: nobody would tell us again.
      dialled.bridge.destroy();
      continue;
    }
    if (dialled?.replaced) {
      attachment.close(CLOSE.tryAgainLater, "A newer gateway serves this session: reconnect");
      return undefined;
    }
    attachment.tell(statusWords(session, pod, dialled?.problem));
    await watch.changed(address ? backoffMs(attempt, RETRY) : LOOK_AGAIN_MS, context.signal);
    if (!address) attempt = -1;
  }
  return undefined;
}

type Dialled = { bridge: GreetedBridge } | { problem: string; replaced: boolean };

async function dial(options: EstablishOptions, address: BridgeAddress): Promise<Dialled> {
  const { context, attachment, resume } = options;
  const { keys, podTokens, logger, republish } = context;
  try {
    const dialOptions = { address, role: "client" as const, keys, podTokens };
    const bridge = await dialBridge(
      resume ? { ...dialOptions, resume } : dialOptions,
      attachment.gone,
    );
    return { bridge };
  } catch (error) {
    const facts = error instanceof ArgusError ? error.facts : {};
    const problem = errorMessage(error);
    if (!attachment.gone.aborted) logger.warn({ ...facts, problem }, "bridge not reached");
    if (facts["refusal"] === "signature") republish();
    return { problem, replaced: facts["refusal"] === "epoch" };
  }
}

/** Follows the session of one client: wakes the waiting loop, and ends the connection when the right to it ends. */
class Watch {
  readonly #options: EstablishOptions;
  readonly #unsubscribe: () => void;
  /** Once the cache has had the object, its absence means that it was deleted. */
  #seen = false;
  #podUid: string | undefined;
  #changed = true;
  #wake: (() => void) | undefined;
  ended = false;

  constructor(options: EstablishOptions) {
    this.#options = options;
    const { directory } = options.context;
    this.#unsubscribe = directory.watch(options.attachment.sessionName, () => this.#onChange());
  }

  stop(): void {
    this.ended = true;
    this.#unsubscribe();
    this.#wake?.();
  }

  /** The session as it stands, and where its bridge is when its pod is ready. */
  look() {
    this.#changed = false;
    const { context, attachment } = this.#options;
    const cached = context.directory.session(attachment.sessionName);
    if (cached) this.#seen = true;
    const session = cached ?? this.#options.session;
    const pod = context.directory.podOf(session);
    const address = pod && isReady(pod) ? bridgeAddress(pod) : undefined;
    this.#podUid = address?.podUid;
    return { session, pod, address };
  }

  /** Resolves at the next change, after `ms`, or when the client has gone. */
  changed(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#changed || this.ended || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }

  #onChange(): void {
    this.#changed = true;
    const problem = this.#problem();
    if (problem) this.#options.attachment.close(problem.code, problem.reason);
    this.#wake?.();
  }

  #problem(): { code: number; reason: string } | undefined {
    const { context, attachment, principal, session: chosen } = this.#options;
    const session = context.directory.session(attachment.sessionName);
    if (session) this.#seen = true;
    if (session ? session.metadata.uid !== chosen.metadata.uid : this.#seen) {
      return { code: CLOSE.policy, reason: "Unknown session: it was deleted" };
    }
    if (session && !context.auth.mayUse(principal, attachment.sessionName)) {
      return { code: CLOSE.policy, reason: "Unauthorized: the token was revoked" };
    }
    // A bridge on a lost node would keep its connection open for a long time.
    if (this.#podUid && !context.directory.podByUid(this.#podUid)) attachment.podGone();
    return undefined;
  }
}
