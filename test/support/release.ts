import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { CHART, helmHome, type Rendered, readObjects } from "./chart.ts";
import { type Helm, helm } from "./helm.ts";
import { kubectl } from "./kubectl.ts";
import type { Outcome } from "./run-program.ts";

export interface ReleaseOptions {
  version: Helm;
  kubeconfig: string;
  namespace: string;
  name?: string;
}

/** One release of the chart in a cluster, and a person with kubectl beside it. */
export class Release {
  readonly #options: ReleaseOptions;
  readonly name: string;

  constructor(options: ReleaseOptions) {
    this.#options = options;
    this.name = options.name ?? "argus";
  }

  get namespace(): string {
    return this.#options.namespace;
  }

  get kubeconfig(): string {
    return this.#options.kubeconfig;
  }

  /** A namespace that admits only restricted pods, and warns of what would not be. */
  async makeNamespace(): Promise<void> {
    const level = (mode: string) => `pod-security.kubernetes.io/${mode}=restricted`;
    await this.ok(["create", "namespace", this.namespace]);
    await this.ok(["label", "namespace", this.namespace, level("enforce"), level("warn")]);
  }

  /** `helm install|upgrade|…` of this release; fails the test when helm fails. */
  async helm(command: string, args: string[] = [], values: object = {}): Promise<Outcome> {
    const { version, kubeconfig, namespace } = this.#options;
    const takesValues = command === "install" || command === "upgrade";
    const words = [command, this.name, ...args, "-n", namespace];
    const outcome = await helm(version, takesValues ? [...words, "-f", "-"] : words, {
      home: helmHome,
      kubeconfig,
      input: JSON.stringify(values),
      timeoutMs: 240_000,
    });
    const { code, stderr } = outcome;
    expect({ command, code, stderr: code === 0 ? "" : stderr }).toEqual({
      command,
      code: 0,
      stderr: "",
    });
    return outcome;
  }

  /** The objects that helm has on record for this release. */
  async manifest(): Promise<Rendered[]> {
    const { version, kubeconfig, namespace } = this.#options;
    const args = ["get", "manifest", this.name, "-n", namespace];
    const { stdout } = await helm(version, args, { home: helmHome, kubeconfig });
    return readObjects(stdout);
  }

  run(args: string[], input = ""): Promise<Outcome> {
    const options = { input, timeoutMs: 180_000 };
    return kubectl(this.#options.kubeconfig, ["-n", this.namespace, ...args], options);
  }

  /** kubectl in the release's namespace; fails the test when it fails. */
  async ok(args: string[], input = ""): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input);
    expect({ args, code, stderr: code === 0 ? "" : stderr }).toEqual({ args, code: 0, stderr: "" });
    return stdout;
  }

  async get<T = Record<string, never>>(what: string): Promise<T> {
    return JSON.parse(await this.ok(["get", what, "-o", "json"])) as T;
  }
}

/** A copy of the chart as a later release would be: another version, and one more field of ArgusSession. */
export async function laterChart(
  version: string,
): Promise<{ path: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "argus-chart-"));
  const path = join(folder, "argus");
  await cp(CHART, path, { recursive: true });
  await edit(join(path, "Chart.yaml"), (text) =>
    text.replace(/^version: .*$/m, `version: ${version}`),
  );
  await edit(join(path, "templates", "crds", "argussessions.yaml"), (text) =>
    text.replace(/^( +)operatingMode:\n/m, "$1laterField:\n$1  type: string\n$1operatingMode:\n"),
  );
  return { path, remove: () => rm(folder, { recursive: true }) };
}

async function edit(path: string, change: (text: string) => string): Promise<void> {
  const text = await readFile(path, "utf8");
  const changed = change(text);
  if (changed === text) throw new Error(`${path} has nothing to change`);
  await writeFile(path, changed);
}
