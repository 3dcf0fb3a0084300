import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { z } from "zod";
import type { KubeClient } from "#cluster/types.ts";
import type { ControllerOptions } from "#controller/options.ts";
import type { Logger } from "#lib/logger.ts";
import { type Environment, httpUrl, listenAddress, logLevel, parseEnvironment } from "../config.ts";
import { clusterVariables } from "./cluster.ts";

const uidRange = z
  .string()
  .regex(/^\d{1,10}-\d{1,10}$/, "give first-last, for example 200000-265535")
  .default("200000-265535")
  .transform((text) => {
    const [first = 0, last = 0] = text.split("-").map(Number);
    return { first, last };
  })
  .refine(
    ({ first, last }) => first > 0 && first <= last,
    "first must be above 0 and not above last",
  );

/** Also of `argus up`. */
export const transcribeCommand = () =>
  z.string().max(4096).optional().meta({
    description:
      "Shell text that prints what is said in the sound file `$1`: run in the session for each voice message; nobody listens when absent",
  });

/** Environment of `argus controller`. */
export const ControllerEnvironment = z.object({
  ...clusterVariables,
  ARGUS_DEFAULT_IMAGE: z
    .string()
    .default("argus:latest")
    .meta({ description: "Image of a session that names none" }),
  ARGUS_GATEWAY_URL: httpUrl()
    .default("http://argus-gateway:8080")
    .meta({ description: "Base URL of the gateway as a session pod reaches it" }),
  ARGUS_GATEWAY_TOKEN_FILE: z.string().optional().meta({
    description:
      "File with the token that the gateway knows the controller by; read again as it is rotated",
  }),
  ARGUS_MODEL: z
    .string()
    .optional()
    .meta({ description: "Model name for Codex; its own default when absent" }),
  ARGUS_TRANSCRIBE: transcribeCommand(),
  ARGUS_LISTEN: listenAddress("127.0.0.1:8081").meta({
    description: "Address and port of health and metrics",
  }),
  ARGUS_IDENTITY: z.string().max(253).optional().meta({
    description:
      "Name of this replica, of which never two run at once (its pod's name); random when absent",
  }),
  ARGUS_HOST_USERS: z.enum(["true", "false"]).default("true").meta({
    description:
      "false gives each new session's pod a user namespace of its own, where the nodes support it",
  }),
  ARGUS_UID_RANGE: uidRange.meta({ description: "User ids that sessions get" }),
  ARGUS_LOG_LEVEL: logLevel(),
});

export function controllerSettings(
  environment: Environment,
): z.output<typeof ControllerEnvironment> {
  return parseEnvironment(ControllerEnvironment, environment);
}

/** Options of the controller from its settings. */
export function controllerOptions(
  set: z.output<typeof ControllerEnvironment>,
  { kube, logger }: { kube: KubeClient; logger: Logger },
): ControllerOptions {
  return {
    ...set.ARGUS_LISTEN,
    kube,
    namespace: set.ARGUS_NAMESPACE,
    defaultImage: set.ARGUS_DEFAULT_IMAGE,
    gatewayUrl: set.ARGUS_GATEWAY_URL,
    ...(set.ARGUS_GATEWAY_TOKEN_FILE ? { gatewayTokenFile: set.ARGUS_GATEWAY_TOKEN_FILE } : {}),
    ...(set.ARGUS_MODEL ? { model: set.ARGUS_MODEL } : {}),
    ...(set.ARGUS_TRANSCRIBE ? { transcribe: set.ARGUS_TRANSCRIBE } : {}),
    identity: set.ARGUS_IDENTITY ?? `${hostname()}_${randomUUID()}`,
    hostUsers: set.ARGUS_HOST_USERS === "true",
    uidRange: set.ARGUS_UID_RANGE,
    logger,
  };
}
