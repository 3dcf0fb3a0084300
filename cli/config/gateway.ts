import { parse } from "yaml";
import { z } from "zod";
import type { KubeClient } from "#cluster/types.ts";
import { ArgusSessionSpec, type ArgusSessionSpecInput } from "#crds/argus-session.ts";
import type { GatewayOptions } from "#gateway/options.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { type Environment, httpUrl, listenAddress, logLevel, parseEnvironment } from "../config.ts";
import { nodeHostFile } from "../node-host-file.ts";
import { clusterVariables } from "./cluster.ts";

export const DEFAULT_UPSTREAM = "https://api.openai.com/v1";

/** The spec as written (defaults stay the API server's); a bad field is named by its path. */
const sessionTemplate = z.string().transform((text, context): ArgusSessionSpecInput => {
  try {
    const spec: unknown = parse(text) ?? {};
    const checked = ArgusSessionSpec.safeParse(spec);
    for (const issue of checked.error?.issues ?? [])
      context.addIssue({ code: "custom", message: `${issue.path.join(".")}: ${issue.message}` });
    return checked.success ? (spec as ArgusSessionSpecInput) : z.NEVER;
  } catch (error) {
    context.addIssue({ code: "custom", message: `is not YAML: ${errorMessage(error)}` });
    return z.NEVER;
  }
});

/** Environment of `argus gateway`. */
export const GatewayEnvironment = z.object({
  ...clusterVariables,
  ARGUS_TOKEN: z
    .string({ error: "set it, or ARGUS_TOKEN_FILE: the one admin token" })
    .min(16, "must have at least 16 characters")
    .meta({ description: "The admin token; or ARGUS_TOKEN_FILE" }),
  ARGUS_STORE: z.enum(["file", "configmap"]).default("file").meta({
    description: "Where accepted messages are kept: in a file, or in ConfigMaps of the namespace",
  }),
  ARGUS_STATE_FOLDER: z
    .string()
    .default("/var/lib/argus/state")
    .meta({ description: "Folder of the file store; local disk only" }),
  ARGUS_STATE_NETWORK_DISK: z.enum(["refuse", "allow"]).default("refuse").meta({
    description: "allow takes a state folder on a network file system, whose locks may lie",
  }),
  ARGUS_CONTROLLER_ACCOUNT: z.string().default("argus-controller").meta({
    description: "Service account that the controller proves itself by when it posts slots",
  }),
  ARGUS_LISTEN: listenAddress("127.0.0.1:8080").meta({
    description: "Address and port of clients, pods and health",
  }),
  ARGUS_MODEL_UPSTREAM: httpUrl()
    .default(DEFAULT_UPSTREAM)
    .meta({ description: "Where the model proxy sends requests" }),
  ARGUS_MODEL_KEY: z
    .string()
    .optional()
    .meta({ description: "Key of the model; or ARGUS_MODEL_KEY_FILE, OPENAI_API_KEY(_FILE)" }),
  ARGUS_SESSION_TEMPLATE: sessionTemplate
    .optional()
    .meta({ description: "Spec (YAML or JSON) of a session made on a client's request" }),
  ARGUS_LOG_LEVEL: logLevel(),
});

export const MODEL_KEY = {
  secrets: ["ARGUS_MODEL_KEY"],
  aliases: { ARGUS_MODEL_KEY: "OPENAI_API_KEY" },
};

export function gatewaySettings(environment: Environment): z.output<typeof GatewayEnvironment> {
  return parseEnvironment(GatewayEnvironment, environment, {
    secrets: ["ARGUS_TOKEN", ...MODEL_KEY.secrets],
    aliases: MODEL_KEY.aliases,
  });
}

/** Options of the gateway from its settings. */
export function gatewayOptions(
  set: z.output<typeof GatewayEnvironment>,
  { kube, logger }: { kube: KubeClient; logger: Logger },
): GatewayOptions {
  const key = set.ARGUS_MODEL_KEY;
  return {
    ...set.ARGUS_LISTEN,
    namespace: set.ARGUS_NAMESPACE,
    store: set.ARGUS_STORE,
    stateFolder: set.ARGUS_STATE_FOLDER,
    allowNetworkFileSystem: set.ARGUS_STATE_NETWORK_DISK === "allow",
    adminToken: set.ARGUS_TOKEN,
    controllerAccount: set.ARGUS_CONTROLLER_ACCOUNT,
    kube,
    model: { upstream: set.ARGUS_MODEL_UPSTREAM, ...(key ? { key } : {}) },
    sessionTemplate: set.ARGUS_SESSION_TEMPLATE ?? {},
    nodeHostFile,
    logger,
  };
}
