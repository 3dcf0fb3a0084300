import { KubeError } from "#cluster/kube-error.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { MAX_CONFIG_MAP_BYTES } from "./config-map-document.ts";

/** What the API server refuses, in words. */
export function refusal(error: unknown): unknown {
  if (!(error instanceof KubeError)) return error;
  const right = "may this gateway get, list, create, update and delete ConfigMaps here?";
  const words = error.status === 403 ? ` (${right})` : "";
  const message = `The state cannot be kept in ConfigMaps: ${errorMessage(error)}${words}`;
  return new ArgusError("Unavailable", message, { status: error.status }, { cause: error });
}

/** It did not settle in time. */
export function away(error: KubeError): ArgusError {
  const message = `The Kubernetes API does not take the state: ${error.message}. Nothing was accepted; try again.`;
  return new ArgusError("Unavailable", message, { status: error.status }, { cause: error });
}

export function tooLarge(uid: string, bytes: number): ArgusError {
  const message = `The document has ${bytes} bytes, and a ConfigMap takes ${MAX_CONFIG_MAP_BYTES} of them: nothing was written. The file store takes more.`;
  return new ArgusError("TooLarge", message, { uid, bytes, limit: MAX_CONFIG_MAP_BYTES });
}
