import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { ALL_PROGRAMS, whyNoControlPlane } from "./binaries.ts";

/** What a node takes from the system: command or files → the Debian package that has it. */
const NEEDS: [found: () => boolean, debianPackage: string][] = [
  [() => onPath("iptables"), "iptables"],
  [() => onPath("ip"), "iproute2"],
  [() => onPath("conntrack"), "conntrack"],
  [() => onPath("busybox"), "busybox-static"],
  [() => onPath("curl"), "curl"],
  [() => onPath("unshare") && onPath("nsenter"), "util-linux"],
  [
    () => PLUGIN_FOLDERS.some((folder) => existsSync(join(folder, "bridge"))),
    "containernetworking-plugins",
  ],
];

/** Where CNI plugins are: Debian's folder, everybody else's. */
export const PLUGIN_FOLDERS = ["/usr/lib/cni", "/opt/cni/bin"];

const onPath = (command: string) =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, command)));

/** Why a node cannot run here, with what to do about it; undefined when it can. */
export function whyNoNode(): string | undefined {
  const reason = whyNoControlPlane(ALL_PROGRAMS);
  if (reason) return reason;
  if (process.getuid?.() !== 0) return "a real node needs root";
  const missing = NEEDS.filter(([found]) => !found()).map(([, debianPackage]) => debianPackage);
  return missing.length > 0 ? `a real node needs: apt-get install ${missing.join(" ")}` : undefined;
}
