import { statfs } from "node:fs/promises";
import { ArgusError } from "#lib/errors.ts";

/** f_type of file systems on which POSIX locks or syncs cannot be trusted: most of them lie on another machine. */
const NETWORK_FILE_SYSTEMS = new Map([
  [0x6969, "NFS"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x517b, "SMB"],
  [0x01021997, "9p"],
  [0x00c36400, "Ceph"],
  [0x0bd00bd0, "Lustre"],
  [0x47504653, "GPFS"],
  [0x5346414f, "AFS"],
  [0x73757245, "Coda"],
  // GlusterFS, s3fs, sshfs, blobfuse, a container engine's shares: what it does with a sync is not to be seen.
  [0x65735546, "FUSE"],
]);

/** Its name; undefined = local. `type` as statfs gives it, negative or not. */
export function networkFileSystem(type: number): string | undefined {
  return NETWORK_FILE_SYSTEMS.get(type >>> 0);
}

/** Throws `InvalidInput` when the folder lies on a network file system. */
export async function refuseNetworkFileSystem(folder: string): Promise<void> {
  const name = networkFileSystem((await statfs(folder)).type);
  if (name === undefined) return;
  throw new ArgusError(
    "InvalidInput",
    `The state folder ${folder} lies on ${name}, where locks and syncs cannot be trusted: use a local disk or a block volume, or keep the state in ConfigMaps. ARGUS_STATE_NETWORK_DISK=allow takes it all the same.`,
    { folder, fileSystem: name },
  );
}
