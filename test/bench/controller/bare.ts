import { createKubeClient } from "#cluster/client.ts";
import { startInformer } from "#cluster/informer.ts";
import {
  argusSessions,
  persistentVolumeClaims,
  pods,
  serviceAccounts,
} from "#cluster/resources.ts";
import { buildClaims } from "#controller/session/claims.ts";
import { buildPod } from "#controller/session/pod.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import { POD } from "#protocol/pod.ts";

/**
 * The floor of a start's latency: asks for volume and pod of each new session at once, with the bytes that the controller would
 * send and over the same client, and does nothing else: no user id, no queue, no status, no event, no memory of what it wrote.
 */
const [kubeconfig = "", namespace = ""] = process.argv.slice(2);
const FIRST_UID = 200_000;

const kube = await createKubeClient({ kubeconfig, logger: silentLogger() });
const settings = { defaultImage: "argus:test", gatewayUrl: "http://argus-gateway:8080" };
const options = { namespace, logger: silentLogger() };
const account = { apiVersion: "v1", kind: "ServiceAccount" };
const metadata = { name: POD.serviceAccount, namespace };
await kube.create(serviceAccounts, { ...account, metadata });
const never = new AbortController();
const sessions = startInformer<ArgusSession>(kube, argusSessions, options, never.signal);
let made = 0;
sessions.onChange((_, session, change) => {
  if (change !== "added") return;
  const pod = buildPod(session, FIRST_UID + made, settings);
  made += 1;
  const claims = buildClaims(session).map((claim) => kube.create(persistentVolumeClaims, claim));
  Promise.all([...claims, kube.create(pods, pod)]).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
await sessions.synced();
console.error(JSON.stringify({ time: new Date().toISOString(), level: 30, msg: "works" }));
