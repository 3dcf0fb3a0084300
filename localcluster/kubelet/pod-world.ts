import { configMaps, secrets } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { type ContainerWorld, neededByEnv } from "./container-plan.ts";
import type { KubeletContext } from "./context.ts";
import type { PodFacts } from "./fields.ts";
import { mayChangeUser, type Owner, reaches, wantedOwner } from "./identity.ts";
import type { PathMapping } from "./paths.ts";
import type { Container, Keyed, Pod } from "./pod.ts";
import { neededByVolume } from "./projection.ts";

/** What a plan of this pod needs from outside, read from the API server now and not from a cache. */
export async function podWorld(
  { kube, environment, binFolder }: KubeletContext,
  pod: Pod,
  { facts, needed, mappings }: { facts: PodFacts; needed: string[]; mappings: PathMapping[] },
): Promise<ContainerWorld> {
  const keyed = await readKeyed(kube, pod.metadata.namespace ?? "default", needed);
  return { ...facts, environment, binFolder, mappings, keyed };
}

async function readKeyed(
  kube: KubeClient,
  namespace: string,
  needed: readonly string[],
): Promise<Map<string, Keyed>> {
  const found = new Map<string, Keyed>();
  for (const name of new Set(needed)) {
    const [plural, object = ""] = name.split("/");
    const resource = plural === "secrets" ? secrets : configMaps;
    const keyed = await kube.get<Keyed>({ resource, namespace, name: object });
    if (keyed) found.set(name, keyed);
  }
  return found;
}

/** Secrets and ConfigMaps that a pod uses anywhere, as `secrets/<name>` and `configmaps/<name>`. */
export function usedBy({ spec }: Pod): Set<string> {
  return new Set([
    ...(spec.volumes ?? []).flatMap(neededByVolume),
    ...[...(spec.initContainers ?? []), ...spec.containers].flatMap(neededByEnv),
  ]);
}

/** Answers that are remembered; then all are asked anew. */
const MAX_CHECKS = 1000;

/**
 * Whether processes of this user could work here: find the programs, enter the pods' folder. Who fills the folder of
 * programs sees to it that what stands behind them can be reached too; our own code may be where nobody else gets.
 */
export function userWorks(
  owner: Owner,
  { podsFolder, binFolder }: Pick<KubeletContext, "podsFolder" | "binFolder">,
): Promise<boolean> {
  return reaches(owner, { execute: [podsFolder, binFolder], read: [binFolder] });
}

/**
 * The user that a container gets: the one it asks for where that works, else undefined (our own user) with
 * `shortfall` true.
 */
export async function effectiveOwner(
  context: KubeletContext,
  pod: Pod,
  container: Container,
): Promise<{ owner: Owner | undefined; shortfall: boolean }> {
  const wanted = wantedOwner(pod, container);
  if (!wanted || wanted.uid === process.getuid?.()) return { owner: undefined, shortfall: false };
  if (!mayChangeUser()) return { owner: undefined, shortfall: true };
  const key = `${wanted.uid}:${wanted.gid}`;
  const { userChecks } = context;
  if (userChecks.size > MAX_CHECKS) userChecks.clear();
  const check = userChecks.get(key) ?? userWorks(wanted, context);
  userChecks.set(key, check);
  return (await check)
    ? { owner: wanted, shortfall: false }
    : { owner: undefined, shortfall: true };
}
