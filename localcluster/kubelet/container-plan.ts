import { ArgusError } from "#lib/errors.ts";
import { fieldValue, type PodFacts, resourceValue } from "./fields.ts";
import { type PathMapping, rewritePath, rewriteWord } from "./paths.ts";
import type { Container, EnvFrom, EnvVar, Keyed, KeyRef, Pod } from "./pod.ts";

/** Everything outside the pod's own text that decides how a container is started. */
export interface ContainerWorld extends PodFacts {
  /** By `secrets/<name>` and `configmaps/<name>`, of the pod's namespace; absent = does not exist. */
  keyed: ReadonlyMap<string, Keyed>;
  mappings: readonly PathMapping[];
  /** Where the container begins; overridden by everything the pod says. */
  environment: Readonly<Record<string, string>>;
  /** Stands before every PATH. */
  binFolder: string;
}

export interface ContainerPlan {
  argv: string[];
  env: Record<string, string>;
  /** Undefined = the container's own folder. */
  cwd: string | undefined;
}

/** Marks every process of a pod; also the uid that `bridge/hello` names. */
export const POD_MARK = "ARGUS_POD_UID";

/**
 * What to execute: variables resolved, `$(NAME)` expanded, paths of mounts replaced by the host's.
 * Throws NotFound (a required Secret, ConfigMap or key is missing; the message names it) or InvalidInput.
 */
export function planContainer(
  pod: Pod,
  container: Container,
  world: ContainerWorld,
): ContainerPlan {
  if (container.restartPolicy) {
    const message = `container ${container.name}: sidecars (restartPolicy of a container) are not supported here`;
    throw new ArgusError("InvalidInput", message, {});
  }
  const own = containerEnv(pod, container, world);
  const words = [...(container.command ?? []), ...(container.args ?? [])];
  if (words.length === 0) {
    throw new ArgusError("InvalidInput", `container ${container.name} names no command`, {});
  }
  const moved = Object.entries(own).map(([name, value]) => [
    name,
    rewriteWord(value, world.mappings),
  ]);
  // The environment to begin with speaks of this machine: its paths are true already.
  const env: Record<string, string> = { ...world.environment, ...Object.fromEntries(moved) };
  env.PATH = [world.binFolder, env.PATH].filter(Boolean).join(":");
  env[POD_MARK] = pod.metadata.uid ?? "";
  const cwd = container.workingDir && rewritePath(container.workingDir, world.mappings);
  const argv = words.map((word) => rewriteWord(expand(word, own), world.mappings));
  return { argv, env, cwd: cwd || undefined };
}

/** Names of the Secrets and ConfigMaps that a container's environment needs, as keys of `ContainerWorld.keyed`. */
export function neededByEnv({ env = [], envFrom = [] }: Container): string[] {
  const names = [
    ...env.flatMap(({ valueFrom }) => [
      valueFrom?.secretKeyRef && `secrets/${valueFrom.secretKeyRef.name}`,
      valueFrom?.configMapKeyRef && `configmaps/${valueFrom.configMapKeyRef.name}`,
    ]),
    ...envFrom.flatMap(({ secretRef, configMapRef }) => [
      secretRef && `secrets/${secretRef.name}`,
      configMapRef && `configmaps/${configMapRef.name}`,
    ]),
  ];
  return [...new Set(names.filter((name) => name !== undefined))];
}

/** `$(NAME)` by its value, `$$` by `$`; an unknown name stays as written. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([^()]+)\)/g, (found, name: string | undefined) => {
    if (name === undefined) return "$";
    return Object.hasOwn(env, name) ? (env[name] ?? found) : found;
  });
}

function containerEnv(
  pod: Pod,
  container: Container,
  world: ContainerWorld,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const source of container.envFrom ?? []) Object.assign(env, fromSource(source, world));
  for (const variable of container.env ?? []) {
    const value = variable.valueFrom
      ? fromReference(pod, container, variable, world)
      : expand(variable.value ?? "", env);
    if (value !== undefined) env[variable.name] = value;
  }
  return env;
}

function fromSource(
  { prefix = "", secretRef, configMapRef }: EnvFrom,
  world: ContainerWorld,
): Record<string, string> {
  const reference = secretRef ?? configMapRef;
  if (!reference) return {};
  const values = keyedValues(world, secretRef ? "secrets" : "configmaps", reference.name);
  if (!values && !reference.optional) throw missing(secretRef ? "secret" : "configmap", reference);
  return Object.fromEntries(
    Object.entries(values ?? {}).map(([key, value]) => [prefix + key, value.toString("utf8")]),
  );
}

function fromReference(
  pod: Pod,
  container: Container,
  { name, valueFrom = {} }: EnvVar,
  world: ContainerWorld,
): string | undefined {
  const { secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef } = valueFrom;
  if (secretKeyRef) return keyValue(world, "secrets", secretKeyRef);
  if (configMapKeyRef) return keyValue(world, "configmaps", configMapKeyRef);
  const value = fieldRef
    ? fieldValue(pod, world, fieldRef.fieldPath)
    : resourceValue(container, resourceFieldRef?.resource ?? "");
  if (value !== undefined) return value;
  const path = fieldRef?.fieldPath ?? resourceFieldRef?.resource;
  throw new ArgusError("InvalidInput", `variable ${name}: field ${path} is not supported`, {});
}

function keyValue(
  world: ContainerWorld,
  plural: "secrets" | "configmaps",
  reference: KeyRef,
): string | undefined {
  const values = keyedValues(world, plural, reference.name);
  const value = values?.[reference.key]?.toString("utf8");
  if (value !== undefined || reference.optional) return value;
  const kind = plural === "secrets" ? "secret" : "configmap";
  if (!values) throw missing(kind, reference);
  const message = `couldn't find key ${reference.key} in ${kind} "${reference.name}"`;
  throw new ArgusError("NotFound", message, {});
}

const missing = (kind: string, { name }: { name: string }) =>
  new ArgusError("NotFound", `${kind} "${name}" not found`, {});

/** Decoded values of a Secret or ConfigMap, undefined when it does not exist. */
export function keyedValues(
  world: Pick<ContainerWorld, "keyed">,
  plural: "secrets" | "configmaps",
  name: string,
): Record<string, Buffer> | undefined {
  const object = world.keyed.get(`${plural}/${name}`);
  if (!object) return undefined;
  const decode = (map: Record<string, string> = {}, encoding: BufferEncoding = "base64") =>
    Object.entries(map).map(([key, value]) => [key, Buffer.from(value, encoding)] as const);
  return Object.fromEntries([
    ...decode(object.data, plural === "secrets" ? "base64" : "utf8"),
    ...decode(object.binaryData),
  ]);
}
