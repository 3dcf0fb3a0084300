import { startInformer } from "#cluster/informer.ts";
import { argusSessions, pods } from "#cluster/resources.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Listening, Running } from "#lib/running.ts";
import { CLOSE } from "#protocol/client.ts";
import { LABEL } from "#protocol/pod.ts";
import { Authenticator } from "./auth.ts";
import { Channels } from "./channels/channels.ts";
import { FileDesk } from "./channels/file-desk.ts";
import { NodeAsks } from "./channels/node-asks.ts";
import type { GatewayContext, LaneContext } from "./context.ts";
import { Crons } from "./crons.ts";
import { Directory } from "./directory.ts";
import { EventEnds } from "./event-ends.ts";
import { type HttpServer, startHttp } from "./http.ts";
import { KeyRing } from "./key-ring.ts";
import { Lanes } from "./lanes/lanes.ts";
import { Liveness } from "./liveness.ts";
import { ServerHeaders } from "./mcp/server-headers.ts";
import { Nodes, type NodesOptions } from "./nodes/nodes.ts";
import { CallQueue } from "./nodes/queue.ts";
import { openStore } from "./open-store.ts";
import type { GatewayOptions } from "./options.ts";
import type { Pod } from "./pod.ts";
import { PodTokens } from "./pod-tokens.ts";
import { startPublisher } from "./publisher.ts";
import { Readiness } from "./readiness.ts";
import { type Bridges, isBridgeUsed } from "./sessions/bridge-activity.ts";
import { SessionKeeper } from "./sessions/keeper.ts";
import { type GatewayState, openGatewayState } from "./state/gateway-state.ts";
import { forgetSession } from "./state/titles.ts";
import type { Store } from "./store/store.ts";
import { STOPPING } from "./upgrade.ts";
import { WebhookSecrets } from "./webhooks/secrets.ts";

/** Clients get this long to take their close frame. */
const DRAIN_MS = 3000;
const CONTROLLER_ACCOUNT = "argus-controller";

/**
 * Lets clients reach sessions and owns the durable state. Resolves when it is ready; until then `/healthz` answers
 * and `/readyz` says what it waits for. Aborting closes clients with 1001, then the store; `closed` rejects when the
 * store fails, because then no promise can be kept.
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
  const readiness = new Readiness();
  readiness.waitFor("store", "the state store is being opened");
  const http = await startHttp(options, () => readiness.list());
  const stop = new AbortController();
  const stopWith = () => stop.abort(signal.reason);
  signal.addEventListener("abort", stopWith, { once: true });
  if (signal.aborted) stopWith();
  try {
    const parts = await open(options, readiness, stop.signal);
    http.serve(parts.context);
    options.logger.info({ host: http.host, port: http.port, epoch: parts.epoch }, "gateway ready");
    return { host: http.host, port: http.port, closed: run(parts, http, stop) };
  } catch (error) {
    stop.abort();
    await http.close();
    throw error;
  }
}

interface Parts {
  context: GatewayContext;
  store: Store;
  epoch: number;
  background: Running[];
}

/** Opens everything in order: state and epoch before anything that could act on them. */
async function open(
  options: GatewayOptions,
  readiness: Readiness,
  signal: AbortSignal,
): Promise<Parts> {
  const store = await openStore(options, readiness, signal);
  try {
    // Without its store nothing that is waited for below would ever come.
    const failed = store.failed.then(() => new Promise<never>(() => {}));
    return await Promise.race([openWith(store, options, { readiness, signal }), failed]);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function openWith(
  store: Store,
  options: GatewayOptions,
  { readiness, signal }: { readiness: Readiness; signal: AbortSignal },
): Promise<Parts> {
  const { kube, namespace, logger } = options;
  const state = await openGatewayState(store);
  const { epoch } = await state.update((document) => ({ ...document, epoch: document.epoch + 1 }));
  const keys = new KeyRing(state);
  await keys.ensure();
  const sessions = startInformer<ArgusSession>(kube, argusSessions, { namespace, logger }, signal);
  const { sessionPods, podTokens } = followPods(options, signal);
  const directory = new Directory({
    kube,
    namespace,
    sessions,
    pods: sessionPods,
    template: options.sessionTemplate,
  });
  const publisher = startPublisher({ keys, kube, namespace, logger }, signal);
  const auth = new Authenticator({
    adminToken: options.adminToken,
    namespace,
    keys,
    directory,
    podTokens,
    controllerAccount: options.controllerAccount ?? CONTROLLER_ACCOUNT,
  });
  readiness.waitFor("cluster", "sessions and pods are being listed");
  readiness.waitFor("keys", "the gateway's public keys are being published");
  await Promise.all([sessions.synced(signal), sessionPods.synced(signal)]);
  readiness.done("cluster");
  await publisher.first;
  readiness.done("keys");
  const bridges = { directory, keys, podTokens };
  const keeper = startKeeper(bridges, { kube, logger, state }, signal);
  const shared = {
    store,
    auth,
    state,
    ...bridges,
    keeper,
    liveness: new Liveness(),
    republish: publisher.again,
    files: new FileDesk(signal),
    logger,
    signal,
  };
  const { served, queue } = await openLanes(store, shared, readiness);
  const nodes = openNodes({ context: shared, lanes: served.lanes, queue }, options);
  const context: GatewayContext = { ...shared, ...served, nodes, ...openReaders(options) };
  return {
    context,
    store,
    epoch,
    background: [sessions, sessionPods, publisher, served.lanes, keeper],
  };
}

/** Goes on with what was accepted before this start, then tells the API server how each session does. */
async function openLanes(store: Store, context: LaneContext, readiness: Readiness) {
  const lanes = new Lanes(store, context);
  const eventEnds = new EventEnds();
  lanes.watchDocuments(eventEnds);
  lanes.watchDocuments(context.keeper);
  const queue = new CallQueue(context);
  lanes.watchDocuments(queue);
  const channels = new Channels({ ...context, lanes });
  context.signal.addEventListener("abort", () => channels.close(), { once: true });
  readiness.waitFor("lanes", "the messages accepted before are being read");
  await lanes.resume();
  context.keeper.begin(lanes);
  readiness.done("lanes");
  return { served: { lanes, eventEnds, channels }, queue };
}

function openNodes(
  parts: Omit<NodesOptions, "secret">,
  { adminToken: secret, logger }: GatewayOptions,
): Nodes {
  const nodes = new Nodes({ ...parts, secret });
  const { lanes } = parts;
  const answer: Nodes["answer"] = (...asked) => nodes.answer(...asked);
  nodes.watchApprovals(new NodeAsks({ lanes, logger, answer }));
  return nodes;
}

/** What looks at the API server when it is asked. */
function openReaders({ kube, namespace, logger }: GatewayOptions) {
  const reading = { kube, namespace, logger };
  return {
    crons: new Crons(reading),
    webhookSecrets: new WebhookSecrets(reading),
    mcpHeaders: new ServerHeaders(reading),
  };
}

function startKeeper(
  bridges: Bridges,
  { kube, logger, state }: Pick<GatewayOptions, "kube" | "logger"> & { state: GatewayState },
  signal: AbortSignal,
): SessionKeeper {
  const options = {
    kube,
    directory: bridges.directory,
    isBridgeUsed: (session: ArgusSession, ended: AbortSignal) =>
      isBridgeUsed(bridges, session, ended),
    forget: async (gone: { uid: string; name: string }) => {
      await state.update((document) => forgetSession(document, gone));
    },
    logger,
  };
  return new SessionKeeper(options, signal);
}

/** A deleted pod's tokens are worth nothing. */
function followPods({ kube, namespace, logger }: GatewayOptions, signal: AbortSignal) {
  const podOptions = { namespace, logger, labelSelector: LABEL.session, transform: slimPod };
  const sessionPods = startInformer<Pod>(kube, pods, podOptions, signal);
  const podTokens = new PodTokens(kube);
  sessionPods.onChange((_, { metadata }, change) => {
    if (change === "deleted" && metadata.uid) podTokens.forget(metadata.uid);
  });
  return { sessionPods, podTokens };
}

/** Of a pod only what is read is kept. */
function slimPod({ metadata, spec, status }: Pod): Pod {
  const { managedFields: _, annotations: __, ...kept } = metadata;
  const { phase, podIP, conditions } = status ?? {};
  return {
    metadata: kept,
    spec: { containers: (spec?.containers ?? []).map(({ name, ports }) => ({ name, ports })) },
    status: { phase, podIP, conditions },
  };
}

/** Serves until the signal aborts or the store fails, then stops in order. */
async function run(parts: Parts, http: HttpServer, stop: AbortController): Promise<void> {
  const { context, store, background } = parts;
  const aborted = new Promise<void>((resolve) => {
    if (stop.signal.aborted) resolve();
    stop.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  const failure = await Promise.race([aborted, store.failed]).catch((error: unknown) => error);
  if (failure) {
    context.logger.fatal(
      { error: errorMessage(failure) },
      "the state store failed: the gateway ends",
    );
  }
  stop.abort();
  context.liveness.closeAll(CLOSE.goingAway, STOPPING);
  await context.liveness.emptied(DRAIN_MS);
  context.liveness.destroyAll();
  await http.close();
  await Promise.all(background.map(({ closed }) => closed));
  if (failure) throw failure;
  await store.close();
}
