import { recordProcess } from "#lib/process-record.ts";
import { whyNoControlPlane } from "./binaries.ts";
import { whyNoNode } from "./needs.ts";

/** Around a whole test run: its workers may start the cluster, the end of the run stops it and leaves nothing behind. */
export default async function setup(): Promise<() => Promise<void>> {
  const reason = process.env.KUBECONFIG
    ? whyNoControlPlane()
    : (whyNoControlPlane() ?? whyNoNode());
  if (reason) console.warn(`tests against a real Kubernetes are skipped: ${reason}`);
  const run = await recordProcess(process.pid);
  process.env.ARGUS_TEST_RUN = JSON.stringify(run);
  return async () => {
    // Only now: most runs have no cluster, and loading all of it takes a while.
    const { leaveCluster, leftovers } = await import("./cluster.ts");
    if (!(await leaveCluster(run))) return;
    const left = await leftovers();
    if (left.length > 0) throw new Error(`the tests' cluster left behind:\n${left.join("\n")}`);
  };
}
