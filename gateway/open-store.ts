import { hostname } from "node:os";
import type { GatewayOptions } from "./options.ts";
import type { Readiness } from "./readiness.ts";
import { openConfigMapStore } from "./store/configmap.ts";
import { openFileStore } from "./store/file.ts";
import type { Store } from "./store/store.ts";

/** Opens the store that the options name; a file that another process holds is waited for, which `/readyz` says. */
export async function openStore(
  options: GatewayOptions,
  readiness: Readiness,
  signal: AbortSignal,
): Promise<Store> {
  const { store: kind = "file", stateFolder, logger } = options;
  if (kind === "configmap") {
    const { kube, namespace } = options;
    const name = `process ${process.pid} on ${hostname()}`;
    const store = await openConfigMapStore({ kube, namespace, name }, signal);
    readiness.done("store");
    return store;
  }
  const onHeld = (holder: string) => {
    readiness.waitFor("store", `the state store is held by ${holder}`);
    logger.warn({ holder, stateFolder }, "state store is held by another gateway; waiting");
  };
  const { allowNetworkFileSystem = false } = options;
  const store = await openFileStore(
    { folder: stateFolder, allowNetworkFileSystem, onHeld },
    signal,
  );
  readiness.done("store");
  return store;
}
