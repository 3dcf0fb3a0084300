import { BRIDGE_FILE } from "#protocol/workspace-files.ts";
import type { BridgeOptions } from "./options.ts";
import { Transcriber, type TranscriberOptions } from "./transcribe.ts";
import { workspaceRequest } from "./workspace-files.ts";

/** Serves what is asked about the workspace; undefined = another method. `digest` is HEARTBEAT.md's. */
export function workspaceOf(
  { runtime, workspace, home, agentEnv }: BridgeOptions,
  rules: Pick<TranscriberOptions, "limited" | "signal">,
): (method: string, params: unknown, digest: string | undefined) => Promise<unknown> | undefined {
  const script = runtime.transcribe;
  const transcriber = new Transcriber({ ...rules, script, workspace, home, env: agentEnv });
  return (method, params, digest) =>
    method === BRIDGE_FILE.transcribe
      ? transcriber.transcribe(params)
      : workspaceRequest({ workspace, digest }, method, params);
}
