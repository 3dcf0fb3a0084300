import { test } from "vitest";
import { whyNoControlPlane } from "#test/cluster/binaries.ts";
import { startControlPlane } from "#test/cluster/control-plane.ts";
import { Tools } from "./kubernetes/tools.ts";
import { kubernetesContract } from "./kubernetes.ts";

async function make() {
  const plane = await startControlPlane({ controllerManager: false });
  const { server, caPem, token } = plane;
  const peer = { server, caPem, token, kubeconfig: plane.kubeconfig() };
  // The garbage collector looks for new kinds every 30 s only, so it starts when ours are there.
  const tools = new Tools(peer);
  await tools.installDefinitions();
  await tools.close();
  await plane.controllerManager.start();
  return { ...peer, close: () => plane.close() };
}

const reason = whyNoControlPlane();
if (reason) test.skip(`the real API server (${reason})`, () => {});
else kubernetesContract({ server: "real", make });
