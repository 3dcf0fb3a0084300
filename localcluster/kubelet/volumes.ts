import { execFile } from "node:child_process";
import { chmod, chown, lchown, lstat, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { KubeObject } from "#cluster/types.ts";
import { ArgusError, errorMessage, isErrno } from "#lib/errors.ts";
import type { ContainerWorld } from "./container-plan.ts";
import type { KubeletContext } from "./context.ts";
import type { Owner } from "./identity.ts";
import type { PathMapping } from "./paths.ts";
import type { Container, Pod, Volume } from "./pod.ts";
import { sameFiles, showFiles } from "./projected-folder.ts";
import {
  type TokenFile,
  type VolumeFiles,
  volumeFiles,
  volumeSources,
  volumeTokens,
} from "./projection.ts";

/** A token is renewed at this share of its life. */
const RENEW_AT = 0.8;

interface IssuedToken {
  content: Buffer;
  renewAtMs: number;
}

/** The volumes of one pod as folders on this machine. */
export class PodVolumes {
  readonly #context: KubeletContext;
  readonly #podFolder: string;
  readonly #shown = new Map<string, VolumeFiles>();
  readonly #tokens = new Map<string, IssuedToken>();
  readonly #folders = new Map<string, string>();

  constructor(context: KubeletContext, podFolder: string) {
    this.#context = context;
    this.#podFolder = podFolder;
  }

  /** Makes or renews all volumes; repeatable. Throws with the volume's name in the message. */
  async mount(pod: Pod, world: ContainerWorld, owner: Owner | undefined): Promise<void> {
    for (const volume of pod.spec.volumes ?? []) {
      try {
        await this.#mountOne(pod, volume, { world, owner });
      } catch (cause) {
        const message = `volume "${volume.name}": ${errorMessage(cause)}`;
        throw new ArgusError("Unavailable", message, {}, { cause });
      }
    }
  }

  /** When the first token must be renewed, in milliseconds since the epoch. */
  get renewAtMs(): number {
    return Math.min(
      Number.POSITIVE_INFINITY,
      ...[...this.#tokens.values()].map((t) => t.renewAtMs),
    );
  }

  /** Where the container's mounts really are. Throws InvalidInput for a mount without a volume. */
  mappings({ volumeMounts = [] }: Container): PathMapping[] {
    return volumeMounts.map(({ name, mountPath, subPath }) => {
      const folder = this.#folders.get(name);
      if (folder)
        return { inside: mountPath.replace(/\/+$/, ""), outside: join(folder, subPath ?? "") };
      throw new ArgusError("InvalidInput", `volumeMount "${name}" has no volume`, {});
    });
  }

  async #mountOne(
    pod: Pod,
    volume: Volume,
    { world, owner }: { world: ContainerWorld; owner: Owner | undefined },
  ): Promise<void> {
    const folder = this.#folderOf(pod, volume);
    if (volumeSources(volume)) {
      const files = volumeFiles(pod, volume, world);
      for (const token of volumeTokens(volume)) {
        const content = await this.#token(pod, `${volume.name}/${token.path}`, token);
        files.set(token.path, { content, mode: token.mode });
      }
      if (!sameFiles(this.#shown.get(volume.name), files)) {
        await showFiles(folder, files, owner);
        this.#shown.set(volume.name, files);
      }
    } else if (!this.#folders.has(volume.name)) {
      await mkdir(folder, { recursive: true });
      await giveTo(folder, owner);
    }
    this.#folders.set(volume.name, folder);
    await this.#makeSubPaths(pod, volume, owner);
  }

  #folderOf({ metadata }: Pod, { name, persistentVolumeClaim, ...other }: Volume): string {
    if (!persistentVolumeClaim) {
      const known = ["emptyDir", "configMap", "secret", "downwardAPI", "projected"];
      const kind = Object.keys(other)[0] ?? "emptyDir";
      if (known.includes(kind)) return join(this.#podFolder, "volumes", name);
      throw new ArgusError("InvalidInput", `volumes of kind ${kind} are not supported here`, {});
    }
    const claim = this.#context.claims.get(
      `${metadata.namespace ?? "default"}/${persistentVolumeClaim.claimName}`,
    );
    if (claim && !claim.metadata.deletionTimestamp)
      return this.#context.claimKeeper.folderOf(claim);
    const why = claim ? "is being deleted" : "not found";
    const message = `persistentvolumeclaim "${persistentVolumeClaim.claimName}" ${why}`;
    throw new ArgusError("NotFound", message, {});
  }

  async #makeSubPaths({ spec }: Pod, volume: Volume, owner: Owner | undefined): Promise<void> {
    if (volumeSources(volume)) return;
    const mounts = [...(spec.initContainers ?? []), ...spec.containers].flatMap(
      ({ volumeMounts = [] }) => volumeMounts,
    );
    for (const { name, subPath } of mounts) {
      if (name !== volume.name || !subPath) continue;
      await makeBeneath(this.#folders.get(name) ?? "", subPath, owner);
    }
  }

  async #token(pod: Pod, key: string, token: TokenFile): Promise<Buffer> {
    const old = this.#tokens.get(key);
    if (old && old.renewAtMs > Date.now()) return old.content;
    const issued = await requestToken(this.#context, pod, token);
    this.#tokens.set(key, issued);
    return issued.content;
  }
}

/** Makes `root/path` step by step: what is inside belongs to the pod, so a link there could lead anywhere. */
async function makeBeneath(root: string, path: string, owner: Owner | undefined): Promise<void> {
  let place = root;
  for (const part of path.split("/")) {
    place = join(place, part);
    const made = await mkdir(place).then(
      () => true,
      (error: unknown) => !isErrno(error, "EEXIST"),
    );
    const isFolder = part !== "" && part !== ".." && (await lstat(place)).isDirectory();
    if (!isFolder) throw new ArgusError("InvalidInput", `subPath ${path} is not a folder`, {});
    if (made && owner) await lchown(place, owner.uid, owner.gid);
  }
}

/** A service-account token bound to the pod, by the API's own TokenRequest. */
async function requestToken(
  { kube }: KubeletContext,
  { metadata, spec }: Pod,
  { audience, expirationSeconds }: TokenFile,
): Promise<IssuedToken> {
  const account = spec.serviceAccountName ?? "default";
  const path = `/api/v1/namespaces/${metadata.namespace}/serviceaccounts/${account}/token`;
  const boundObjectRef = { apiVersion: "v1", kind: "Pod", name: metadata.name, uid: metadata.uid };
  const body = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    metadata: { name: account, namespace: metadata.namespace },
    spec: { ...(audience && { audiences: [audience] }), expirationSeconds, boundObjectRef },
  };
  const answer = await kube.request("POST", path, { body });
  const parsed = (await answer.body.json()) as KubeObject & {
    message?: string;
    status?: { token?: string; expirationTimestamp?: string };
  };
  const { token, expirationTimestamp } = parsed.status ?? {};
  if (!token) {
    const message = `no token for service account "${account}": ${parsed.message ?? answer.status}`;
    throw new ArgusError("Unavailable", message, {});
  }
  const now = Date.now();
  const life = (Date.parse(expirationTimestamp ?? "") || now + expirationSeconds * 1000) - now;
  return { content: Buffer.from(token), renewAtMs: now + life * RENEW_AT };
}

/** Makes a folder the user's own, with all in it when it was another's. Others cannot look inside. */
export async function giveTo(folder: string, owner: Owner | undefined): Promise<void> {
  await chmod(folder, 0o700);
  if (!owner) return;
  if ((await stat(folder)).uid === owner.uid) return chown(folder, owner.uid, owner.gid);
  // -h and -P: a link in it may point anywhere.
  await promisify(execFile)("chown", ["-R", "-P", "-h", `${owner.uid}:${owner.gid}`, folder]);
}
