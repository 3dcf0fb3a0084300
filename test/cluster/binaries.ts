import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** One Go module that programs of the cluster come from; its folder holds go.mod and go.sum, which name its version. */
interface Source {
  folder: string;
  module: string;
  /** Program → package. */
  programs: Record<string, string>;
  flags?: string[];
  /** Linker variables, since a module that is built as a dependency does not know its own version. */
  variables?: (version: string) => Record<string, string>;
  cgo?: boolean;
}

const SOURCES: Source[] = [
  {
    folder: "etcd",
    module: "go.etcd.io/etcd/server/v3",
    programs: { etcd: "go.etcd.io/etcd/server/v3" },
  },
  {
    folder: "kubernetes",
    module: "k8s.io/kubernetes",
    programs: Object.fromEntries(
      ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"].map(
        (name) => [name, `k8s.io/kubernetes/cmd/${name}`],
      ),
    ),
    variables: kubernetesVersion,
  },
  {
    folder: "containerd",
    module: "github.com/containerd/containerd/v2",
    programs: Object.fromEntries(
      ["containerd", "containerd-shim-runc-v2", "ctr"].map((name) => [
        name,
        `github.com/containerd/containerd/v2/cmd/${name}`,
      ]),
    ),
    flags: ["-tags=no_btrfs,no_zfs,no_aufs,no_devmapper"],
  },
  {
    folder: "runc",
    module: "github.com/opencontainers/runc",
    programs: { runc: "github.com/opencontainers/runc" },
    flags: ["-tags=seccomp,netgo,osusergo"],
    cgo: true,
  },
  {
    folder: "coredns",
    module: "github.com/coredns/coredns",
    programs: { coredns: "github.com/coredns/coredns" },
  },
];

const SCANNER_SOURCES: Source[] = [
  {
    folder: "kube-score",
    module: "github.com/zegl/kube-score",
    programs: { "kube-score": "github.com/zegl/kube-score/cmd/kube-score" },
  },
  {
    folder: "kubeconform",
    module: "github.com/yannh/kubeconform",
    programs: { kubeconform: "github.com/yannh/kubeconform/cmd/kubeconform" },
  },
];

/** Enough for a kube-apiserver: contract tests, the controller's bench. */
export const CONTROL_PLANE = ["etcd", "kube-apiserver", "kube-controller-manager"];
export const ALL_PROGRAMS = SOURCES.flatMap(({ programs }) => Object.keys(programs));

const SOURCE_FOLDER = join(import.meta.dirname, "..", "..", "scripts", "cluster", "go");
const BUILD_TIMEOUT_MS = 30 * 60_000;
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;

function kubernetesVersion(version: string): Record<string, string> {
  const [, major = "", minor = ""] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  return {
    "k8s.io/component-base/version.gitVersion": version,
    "k8s.io/component-base/version.gitMajor": major,
    "k8s.io/component-base/version.gitMinor": minor,
    "k8s.io/client-go/pkg/version.gitVersion": version,
  };
}

/** Where built programs and downloads of the tests are kept. */
export const testCache = (): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "argus-test");

function versionOf({ folder, module }: Source): string {
  const text = readFileSync(join(SOURCE_FOLDER, folder, "go.mod"), "utf8");
  const line = text.split("\n").find((each) => each.trim().startsWith(`${module} v`));
  const version = line?.trim().split(" ")[1];
  if (!version) throw new Error(`${folder}/go.mod names no version of ${module}`);
  return version;
}

const folderOf = (source: Source) => join(testCache(), `${source.folder}-${versionOf(source)}`);

function sourceOf(program: string): Source {
  const found = [...SOURCES, ...SCANNER_SOURCES].find(({ programs }) => program in programs);
  if (!found) throw new Error(`no such program: ${program}`);
  return found;
}

/** Path of a program: from `$KUBEBUILDER_ASSETS` when it is there, else where it is (or will be) built. */
export function programPath(program: string): string {
  const given = process.env.KUBEBUILDER_ASSETS;
  if (given && existsSync(join(given, program))) return join(given, program);
  return join(folderOf(sourceOf(program)), program);
}

export const missingPrograms = (programs: readonly string[]): string[] =>
  programs.filter((program) => !existsSync(programPath(program)));

/** Why a real Kubernetes cannot be started here, with what to do about it; undefined when it can. */
export function whyNoControlPlane(programs: readonly string[] = CONTROL_PLANE): string | undefined {
  if (process.platform !== "linux") return "a real Kubernetes runs on Linux only";
  const missing = missingPrograms(programs);
  if (missing.length === 0) return undefined;
  return `${missing.join(", ")}: not built on this machine; npm run cluster -- build (needs Go, once some 10 minutes)`;
}

/** Builds what is missing into the cache, one program at a time; `say` hears what happens. */
export async function buildPrograms(
  programs: readonly string[],
  say: (line: string) => void,
): Promise<void> {
  for (const program of missingPrograms(programs)) {
    say(`building ${program} ${versionOf(sourceOf(program))}`);
    await build(sourceOf(program), program);
  }
}

async function build(source: Source, program: string): Promise<void> {
  const folder = folderOf(source);
  await mkdir(folder, { recursive: true });
  const variables = Object.entries(source.variables?.(versionOf(source)) ?? {});
  const linker = ["-s", "-w", ...variables.map(([name, value]) => `-X ${name}=${value}`)];
  // Two may build at once: each into a file of its own, the last rename wins.
  const fresh = join(folder, `${program}.${process.pid}`);
  const args = ["build", "-trimpath", "-buildvcs=false", `-ldflags=${linker.join(" ")}`];
  const target = source.programs[program] ?? "";
  try {
    await promisify(execFile)("go", [...args, ...(source.flags ?? []), "-o", fresh, target], {
      cwd: join(SOURCE_FOLDER, source.folder),
      env: { ...process.env, CGO_ENABLED: source.cgo ? "1" : "0" },
      timeout: BUILD_TIMEOUT_MS,
      maxBuffer: MAX_OUTPUT_BYTES,
    });
  } catch (error) {
    await rm(fresh, { force: true });
    const message = `${program} could not be built, see that Go is installed and what it says`;
    throw new Error(message, { cause: error });
  }
  await rename(fresh, join(folder, program));
}
