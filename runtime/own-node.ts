import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { TurnDefaults } from "#protocol/bridge.ts";
import { POD_ENV } from "#protocol/pod.ts";
import { withNpmPrefix } from "./npm-prefix.ts";
import type { BridgeOptions, OpenJob, PodNode, PodNodeOptions } from "./options.ts";

export interface OwnNodeRules extends Pick<PodNodeOptions, "limited"> {
  sandbox: () => TurnDefaults["sandbox"];
}

/** The pod as a node of its session. Without it the session works as before, but for commands to `self`. */
export class OwnNode {
  #node: PodNode | undefined;

  /** Never throws: what fails is logged. */
  async start(options: BridgeOptions, rules: OwnNodeRules, signal: AbortSignal): Promise<void> {
    try {
      this.#node = await options.startNode?.(podNodeOptions(options, rules), signal);
    } catch (error) {
      options.logger.error({ err: error }, "the pod's node could not be started");
    }
  }

  openJobs(): OpenJob[] {
    return this.#node?.openJobs() ?? [];
  }

  get closed(): Promise<void> {
    return this.#node?.closed ?? Promise.resolve();
  }
}

/** Programs get what the agent gets, and no token. */
function podNodeOptions(options: BridgeOptions, rules: OwnNodeRules): PodNodeOptions {
  const { session, podUid, gatewayUrl, tokenFile, home, workspace, temporary } = options;
  const { agentEnv, runtime, logger } = options;
  return {
    nodeId: `runtime:${session}`,
    gatewayUrl,
    token: async () => (await readFile(tokenFile, "utf8")).trim(),
    stateFolder: join(home, ".argus", "node"),
    cwd: runtime.workingDir || workspace,
    roots: [home, workspace],
    env: { ...withNpmPrefix(agentEnv, home), TMPDIR: temporary },
    marks: { [POD_ENV.podUid]: podUid },
    limited: rules.limited,
    // Where the container is no sandbox, the agent would get out of its own one by a job.
    mustAsk: () => runtime.approvals === "untrusted" || rules.sandbox() !== "danger-full-access",
    logger,
  };
}
