import { ArgusError } from "#lib/errors.ts";
import { type ContainerWorld, keyedValues } from "./container-plan.ts";
import { fieldValue } from "./fields.ts";
import type { DownwardItem, KeyedSource, Pod, Projection, Volume } from "./pod.ts";

/** Content of a volume that is made of API objects: relative path → file. */
export type VolumeFiles = Map<string, { content: Buffer; mode: number }>;

export interface TokenFile {
  path: string;
  audience: string | undefined;
  expirationSeconds: number;
  mode: number;
}

const DEFAULT_MODE = 0o644;
const DEFAULT_TOKEN_SECONDS = 3600;
/** The API's own lower bound. */
const LEAST_TOKEN_SECONDS = 600;

/** The sources of a volume, one list for all kinds that are files; undefined for a folder (emptyDir, claim). */
export function volumeSources(volume: Volume): Projection[] | undefined {
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap) return [{ configMap }];
  if (secret) return [{ secret: { ...secret, name: secret.secretName } }];
  if (downwardAPI) return [{ downwardAPI }];
  return projected ? (projected.sources ?? []) : undefined;
}

/** Secrets and ConfigMaps that a volume shows, as keys of `ContainerWorld.keyed`. */
export function neededByVolume(volume: Volume): string[] {
  return (volumeSources(volume) ?? []).flatMap(({ secret, configMap }) => [
    ...(secret ? [`secrets/${secret.name}`] : []),
    ...(configMap ? [`configmaps/${configMap.name}`] : []),
  ]);
}

/** The token files of a volume; their content comes from the API server. */
export function volumeTokens(volume: Volume): TokenFile[] {
  return (volumeSources(volume) ?? []).flatMap(({ serviceAccountToken: token }) => {
    if (!token) return [];
    const seconds = token.expirationSeconds ?? DEFAULT_TOKEN_SECONDS;
    const { path, audience } = token;
    const expirationSeconds = Math.max(LEAST_TOKEN_SECONDS, seconds);
    return [{ path: safePath(path), audience, expirationSeconds, mode: 0o600 }];
  });
}

/** The other files. Throws NotFound for a missing source or key, InvalidInput for a path that leaves the volume. */
export function volumeFiles(pod: Pod, volume: Volume, world: ContainerWorld): VolumeFiles {
  const mode = defaultMode(volume);
  const files: VolumeFiles = new Map();
  for (const { secret, configMap, downwardAPI } of volumeSources(volume) ?? []) {
    if (secret) addKeyed(files, { world, mode, source: secret, plural: "secrets" });
    if (configMap) addKeyed(files, { world, mode, source: configMap, plural: "configmaps" });
    for (const item of downwardAPI?.items ?? []) {
      files.set(safePath(item.path), {
        content: Buffer.from(downward(pod, item, world)),
        mode: item.mode ?? mode,
      });
    }
  }
  return files;
}

const defaultMode = ({ configMap, secret, downwardAPI, projected }: Volume) =>
  (configMap ?? secret ?? downwardAPI ?? projected)?.defaultMode ?? DEFAULT_MODE;

interface KeyedInput {
  world: ContainerWorld;
  mode: number;
  source: KeyedSource & { name: string };
  plural: "secrets" | "configmaps";
}

function addKeyed(files: VolumeFiles, { world, mode, source, plural }: KeyedInput): void {
  const values = keyedValues(world, plural, source.name);
  const kind = plural === "secrets" ? "secret" : "configmap";
  if (!values) {
    if (source.optional) return;
    throw new ArgusError("NotFound", `${kind} "${source.name}" not found`, {});
  }
  const items: { key: string; path: string; mode?: number }[] =
    source.items ?? Object.keys(values).map((key) => ({ key, path: key }));
  for (const item of items) {
    const content = values[item.key];
    if (content) files.set(safePath(item.path), { content, mode: item.mode ?? mode });
    else if (!source.optional) {
      const message = `references non-existent key ${item.key} in ${kind} "${source.name}"`;
      throw new ArgusError("NotFound", message, {});
    }
  }
}

function downward(pod: Pod, { fieldRef, path }: DownwardItem, world: ContainerWorld): string {
  const value = fieldRef && fieldValue(pod, world, fieldRef.fieldPath);
  if (value !== undefined) return value;
  throw new ArgusError("InvalidInput", `downwardAPI file ${path}: field is not supported`, {});
}

function safePath(path: string): string {
  const parts = path.split("/");
  if (path !== "" && !parts.some((part) => part === "" || part === "." || part.startsWith(".."))) {
    return path;
  }
  throw new ArgusError("InvalidInput", `volume path ${JSON.stringify(path)} is not allowed`, {});
}
