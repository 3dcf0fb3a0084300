import { mkdir } from "node:fs/promises";
import { startNodeHost } from "#node-host/node-host.ts";
import type { Policy } from "#node-host/policy.ts";
import packageJson from "#package" with { type: "json" };
import type { PodNode, PodNodeOptions } from "#runtime/options.ts";
import { nodesUrl } from "./nodes-url.ts";

/** The node-host of a session's pod, in the bridge's own process. `supervise` = the command line of a job's supervisor. */
export function podNode(
  supervise: string[],
): (options: PodNodeOptions, signal: AbortSignal) => Promise<PodNode> {
  return async (options, signal) => {
    const { nodeId, gatewayUrl, token, stateFolder, cwd, env, marks, limited, logger } = options;
    await mkdir(stateFolder, { recursive: true, mode: 0o700 });
    const host = {
      url: nodesUrl(gatewayUrl),
      token,
      nodeId,
      displayName: nodeId,
      version: packageJson.version,
      stateFolder,
      supervisor: limited(supervise),
      marks,
      env,
      home: cwd,
      policy: async () => policyOf(options),
      logger,
    };
    return await startNodeHost(host, signal);
  };
}

/** In a container the container is the sandbox. A person who asks has said his word by that. */
function policyOf({ mustAsk, roots }: PodNodeOptions): Policy {
  if (!mustAsk()) return { default: "allow", rules: [], roots };
  return { default: "ask", rules: [{ effect: "allow", by: "person" }], roots };
}
