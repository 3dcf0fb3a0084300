import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { networkFileSystem, refuseNetworkFileSystem } from "#gateway/store/file-systems.ts";

test("network file systems are known by their type, also where it comes as a negative number", () => {
  expect(networkFileSystem(0x6969)).toBe("NFS");
  expect(networkFileSystem(0xfe534d42)).toBe("SMB2");
  expect(networkFileSystem(0xfe534d42 | 0)).toBe("SMB2");
  expect(networkFileSystem(0x65735546)).toBe("FUSE");
  // ext4, xfs, btrfs, tmpfs, overlayfs, zfs
  for (const local of [0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630, 0x2fc12fc1]) {
    expect(networkFileSystem(local)).toBeUndefined();
  }
});

test("the folder for temporary files is taken", async () => {
  expect(networkFileSystem((await statfs(tmpdir())).type)).toBeUndefined();
  await refuseNetworkFileSystem(tmpdir());
});
