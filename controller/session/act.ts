import type { Pod } from "#cluster/core-types.ts";
import { isAlreadyExists, isConflict, isNotFound } from "#cluster/kube-error.ts";
import { keyOf, refOf } from "#cluster/objects.ts";
import { persistentVolumeClaims, pods, serviceAccounts } from "#cluster/resources.ts";
import type { Informer, KubeClient, KubeObject, ObjectRef, Resource } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import type { Written } from "../written.ts";
import { isOurs, type Observed } from "./observe.ts";
import { type Action, type Problem, podNotOwned } from "./plan.ts";
import { refusal } from "./refusals.ts";

export interface ActContext {
  kube: KubeClient;
  /** Of every collection that is written to and watched. */
  caches: ReadonlyMap<Resource, Informer<KubeObject>>;
  written: Written;
  /** Tells that the service account exists, or that it may not any more. */
  setServiceAccount: (exists: boolean) => void;
}

/** What went wrong in a way that people should see; `error` where a retry with back-off may help. */
export interface Failure {
  problem: Problem;
  error?: unknown;
}

/**
 * Makes the writes in order and stops at the first that fails. Each is harmless when repeated: creates have names of their own,
 * deletes and patches name the UID. Throws what only concerns the way to the API server.
 */
export async function act(
  actions: readonly Action[],
  { session }: Observed,
  context: ActContext,
): Promise<Failure | undefined> {
  for (const step of stepsOf(actions)) {
    const ends = await Promise.allSettled(step.map((action) => attempt(action, session, context)));
    for (const end of ends) {
      if (end.status === "rejected") throw end.reason;
      if (end.value) return end.value;
    }
  }
  return undefined;
}

/** A pod may come before its claims and waits for them then, so that nobody has to wait for their answers first. */
function stepsOf(actions: readonly Action[]): Action[][] {
  const steps: Action[][] = [];
  for (const action of actions) {
    const last = steps.at(-1);
    const beside = isCreate(action, persistentVolumeClaims) || isCreate(action, pods);
    if (beside && last?.every((each) => isCreate(each, persistentVolumeClaims))) last.push(action);
    else steps.push([action]);
  }
  return steps;
}

function isCreate(action: Action, resource: Resource): boolean {
  return action.do === "create" && action.resource === resource;
}

async function attempt(
  action: Action,
  session: ArgusSession,
  context: ActContext,
): Promise<Failure | undefined> {
  try {
    await write(action, keyOf(session), context);
    return undefined;
  } catch (error) {
    if (action.do === "delete" && (isNotFound(error) || isConflict(error))) return undefined;
    return action.do === "create" && isAlreadyExists(error)
      ? await taken(action, context, (pod) => isOurs(pod, session))
      : explain(action, error, context);
  }
}

async function write(action: Action, key: string, context: ActContext): Promise<void> {
  const { kube, written } = context;
  switch (action.do) {
    case "create": {
      const made = await kube.create(action.resource, action.object);
      const cache = context.caches.get(action.resource);
      if (cache) written.wrote(key, cache, made);
      if (action.resource === serviceAccounts) context.setServiceAccount(true);
      return;
    }
    case "patch": {
      const made = await kube.jsonPatch(action.ref, action.patch);
      const cache = context.caches.get(action.ref.resource);
      if (cache) written.wrote(key, cache, made);
      return;
    }
    case "delete": {
      const { ref, uid } = action;
      await kube.delete(ref, { uid });
      const cache = context.caches.get(ref.resource);
      if (cache) written.deleted(key, cache, { objectKey: keyOfRef(ref), uid });
      return;
    }
    case "claimUid":
      return;
  }
}

function keyOfRef({ namespace, name }: ObjectRef): string {
  return `${namespace}/${name}`;
}

/** The name is taken: by ourselves before the cache saw it, which is well, or by somebody else. */
async function taken(
  { resource, object }: Extract<Action, { do: "create" }>,
  { kube, setServiceAccount }: ActContext,
  isOwn: (pod: Pod) => boolean,
): Promise<Failure | undefined> {
  if (resource === serviceAccounts) setServiceAccount(true);
  if (resource !== pods) return undefined;
  const pod = await kube.get<Pod>(refOf(resource, object));
  return pod && !isOwn(pod) ? { problem: podNotOwned(pod) } : undefined;
}

function explain(action: Action, error: unknown, context: ActContext): Failure {
  const problem = refusal(error, nameOf(action));
  if (!problem) throw error;
  // A pod is refused like this when somebody deleted its service account.
  if (problem.reason === "DependenciesNotReady") context.setServiceAccount(false);
  return { problem, error };
}

function nameOf(action: Action): string {
  if (action.do === "claimUid") return "ConfigMap argus-uids";
  if (action.do === "create") {
    const { kind, metadata } = action.object;
    return `${kind} ${metadata.namespace}/${metadata.name}`;
  }
  const { resource, namespace, name } = action.ref;
  return `${resource.kind} ${namespace}/${name}`;
}
