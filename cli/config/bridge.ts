import { z } from "zod";
import type { Logger } from "#lib/logger.ts";
import { POD, POD_ENV, RuntimeSpec } from "#protocol/pod.ts";
import type { BridgeOptions } from "#runtime/options.ts";
import { type Environment, httpUrl, logLevel, parseEnvironment, portNumber } from "../config.ts";

const FALLBACK_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const runtimeJson = z
  .string()
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: "custom", message: "is not JSON" });
      return z.NEVER;
    }
  })
  .pipe(RuntimeSpec);

/** Environment of `argus bridge`: the session pod's (protocol/pod.ts), written by the controller. */
export const BridgeEnvironment = z.object({
  [POD_ENV.session]: z.string().meta({ description: "Session name" }),
  [POD_ENV.podUid]: z
    .string()
    .meta({ description: "UID of the pod: who the gateway's hello must be meant for" }),
  [POD_ENV.podIp]: z
    .string()
    .default("0.0.0.0")
    .meta({ description: "Address that both ports listen on" }),
  [POD_ENV.runtime]: runtimeJson.meta({ description: "What to run, as JSON" }),
  [POD_ENV.gatewayUrl]: httpUrl().meta({ description: "Base URL of the gateway" }),
  [POD_ENV.home]: z.string().default(POD.home).meta({ description: "Home of the agent" }),
  [POD_ENV.workspace]: z
    .string()
    .default(POD.workspace)
    .meta({ description: "Folder that the agent works in" }),
  [POD_ENV.temporary]: z.string().default(POD.temporary).meta({ description: "Temporary folder" }),
  [POD_ENV.tokenFile]: z
    .string()
    .default(POD.tokenFile)
    .meta({ description: "Projected token that proves the pod to the gateway" }),
  [POD_ENV.keysFolder]: z
    .string()
    .default(POD.keysFolder)
    .meta({ description: "Folder of the gateway's public keys" }),
  [POD_ENV.terminationLog]: z
    .string()
    .default("/dev/termination-log")
    .meta({ description: "File that takes the cause of death" }),
  ARGUS_BRIDGE_PORT: portNumber(POD.ports.bridge.number).meta({
    description: "Port of the gateway's connections",
  }),
  ARGUS_PROBE_PORT: portNumber(POD.ports.probe.number).meta({
    description: "Port of readiness and status",
  }),
  ARGUS_LOG_LEVEL: logLevel(),
});

export const bridgeLogLevel = (environment: Environment) =>
  parseEnvironment(z.object({ ARGUS_LOG_LEVEL: logLevel() }), environment).ARGUS_LOG_LEVEL;

/** Options of the bridge from the pod's environment. */
export function bridgeOptions(environment: Environment, logger: Logger): BridgeOptions {
  const set = parseEnvironment(BridgeEnvironment, environment);
  return {
    session: set[POD_ENV.session],
    podUid: set[POD_ENV.podUid],
    host: set[POD_ENV.podIp],
    bridgePort: set.ARGUS_BRIDGE_PORT,
    probePort: set.ARGUS_PROBE_PORT,
    runtime: set[POD_ENV.runtime],
    gatewayUrl: set[POD_ENV.gatewayUrl],
    home: set[POD_ENV.home],
    workspace: set[POD_ENV.workspace],
    temporary: set[POD_ENV.temporary],
    tokenFile: set[POD_ENV.tokenFile],
    keysFolder: set[POD_ENV.keysFolder],
    terminationLog: set[POD_ENV.terminationLog],
    agentEnv: agentEnvironment(environment, set[POD_ENV.home], set[POD_ENV.temporary]),
    logger,
  };
}

/** What the agent sees: the container's environment without ours, and the three names that every program needs. */
export function agentEnvironment(
  environment: Environment,
  home: string,
  temporary: string,
): Environment {
  const given: string[] = [POD_ENV.session, POD_ENV.podUid];
  const visible = Object.entries(environment).filter(
    ([name]) => !name.startsWith("ARGUS_") || given.includes(name),
  );
  return {
    PATH: FALLBACK_PATH,
    ...Object.fromEntries(visible),
    HOME: home,
    TMPDIR: temporary,
  };
}
