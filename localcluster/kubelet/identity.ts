import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Container, Pod } from "./pod.ts";

export interface Owner {
  uid: number;
  gid: number;
}

export interface Reach {
  /** Programs that the user must be able to execute, files and folders that it must be able to read. */
  execute: string[];
  read: string[];
}

/** The user that a container asks for; undefined when it names none. */
export function wantedOwner({ spec }: Pod, container?: Container): Owner | undefined {
  const own = container?.securityContext;
  const uid = own?.runAsUser ?? spec.securityContext?.runAsUser;
  if (uid === undefined) return undefined;
  const { runAsGroup, fsGroup } = spec.securityContext ?? {};
  return { uid, gid: own?.runAsGroup ?? runAsGroup ?? fsGroup ?? uid };
}

/** Whether this process may start others as another user. */
export const mayChangeUser = (): boolean => process.getuid?.() === 0;

const SCRIPT = `n=$1; shift
while [ "$n" -gt 0 ]; do [ -x "$1" ] || exit 1; shift; n=$((n-1)); done
for each; do [ -r "$each" ] && { [ ! -d "$each" ] || [ -x "$each" ]; } || exit 1; done`;

/** Whether that user reaches all of it; asked by a process that runs as this user, since only the kernel knows. */
export async function reaches(owner: Owner, { execute, read }: Reach): Promise<boolean> {
  const words = ["-c", SCRIPT, "reach", String(execute.length), ...execute, ...read];
  const child = spawn("/bin/sh", words, { ...owner, stdio: "ignore", cwd: "/", env: {} });
  try {
    const [code] = (await once(child, "exit")) as [number | null];
    return code === 0;
  } catch {
    return false; // not even the shell could be started as this user
  }
}
