import { z } from "zod";
import { type Environment, httpUrl, logLevel, parseEnvironment } from "../config.ts";
import { transcribeCommand } from "./controller.ts";
import { DEFAULT_UPSTREAM, GatewayEnvironment, MODEL_KEY } from "./gateway.ts";

/** Environment of `argus up`. */
export const UpEnvironment = z.object({
  ARGUS_DATA: z.string().optional().meta({
    description:
      "Data folder; else /var/lib/argus as root, $XDG_DATA_HOME/argus or ~/.local/share/argus",
  }),
  ARGUS_TOKEN: z.string().min(16, "must have at least 16 characters").optional().meta({
    description: "The admin token; or ARGUS_TOKEN_FILE; else made once and kept",
  }),
  ARGUS_MODEL_UPSTREAM: httpUrl()
    .optional()
    .meta({
      description: `Where the model proxy sends requests; else ${DEFAULT_UPSTREAM}`,
    }),
  ARGUS_MODEL_KEY: z.string().optional().meta({
    description: "Key of the model; or ARGUS_MODEL_KEY_FILE, OPENAI_API_KEY(_FILE)",
  }),
  ARGUS_MODEL: z
    .string()
    .optional()
    .meta({ description: "Model name for Codex; its own default when absent" }),
  ARGUS_TRANSCRIBE: transcribeCommand(),
  ARGUS_STATE_NETWORK_DISK: GatewayEnvironment.shape.ARGUS_STATE_NETWORK_DISK,
  ARGUS_TELEGRAM_TOKEN: z.string().optional().meta({
    description:
      "The bot's token from BotFather starts the Telegram bot, with what `argus telegram` reads; or ARGUS_TELEGRAM_TOKEN_FILE",
  }),
  ARGUS_LOG_LEVEL: logLevel(),
});
export type UpSettings = z.output<typeof UpEnvironment>;

export function upSettings(environment: Environment): UpSettings {
  return parseEnvironment(UpEnvironment, environment, {
    secrets: ["ARGUS_TOKEN", "ARGUS_TELEGRAM_TOKEN", ...MODEL_KEY.secrets],
    aliases: MODEL_KEY.aliases,
  });
}

/** Whether Codex has a model to talk to: a key, or an upstream that somebody named. */
export function hasModel({ ARGUS_MODEL_KEY, ARGUS_MODEL_UPSTREAM }: UpSettings): boolean {
  return ARGUS_MODEL_KEY !== undefined || ARGUS_MODEL_UPSTREAM !== undefined;
}

/** Environment of `argus chat`, `sessions`, `apply` and `token`. */
export const ClientEnvironment = z.object({
  ARGUS_URL: httpUrl().optional().meta({ description: "The gateway; else the local one" }),
  ARGUS_TOKEN: z.string().optional().meta({ description: "Its token; else the local one's" }),
  ARGUS_DATA: z.string().optional().meta({ description: "Data folder of the local one" }),
  KUBECONFIG: z
    .string()
    .optional()
    .meta({ description: "Kubernetes API for apply and sessions; else the local one" }),
});

/** Passed on to every process: where programs are, language, time zone, how to get out. */
const PASSED_ON = [
  "PATH",
  "HOME",
  "LANG",
  "LC_ALL",
  "TZ",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "SSL_CERT_FILE",
  "NODE_EXTRA_CA_CERTS",
];
/** Of these a session sees only what cannot hold a password. */
const FOR_SESSIONS = ["PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE"];

const pick = (environment: Environment, names: string[]): Environment =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => names.includes(name)));

export const sessionEnvironment = (environment: Environment) => pick(environment, FOR_SESSIONS);

export interface Wiring {
  token: string;
  /** File with the same token, for the controller. */
  gatewayTokenFile: string;
  gatewayPort: number;
  controllerPort: number;
  stateFolder: string;
  controllerKubeconfig: string;
  gatewayKubeconfig: string;
  /** Spec of sessions that clients ask for, as JSON. */
  sessionTemplate: string;
}

const NAMESPACE = { ARGUS_NAMESPACE: "default" };

export function gatewayEnvironment(
  environment: Environment,
  set: UpSettings,
  wiring: Wiring,
): Environment {
  return {
    ...pick(environment, PASSED_ON),
    ...NAMESPACE,
    KUBECONFIG: wiring.gatewayKubeconfig,
    ARGUS_TOKEN: wiring.token,
    ARGUS_STATE_FOLDER: wiring.stateFolder,
    ARGUS_STATE_NETWORK_DISK: set.ARGUS_STATE_NETWORK_DISK,
    ARGUS_LISTEN: `127.0.0.1:${wiring.gatewayPort}`,
    ARGUS_MODEL_UPSTREAM: set.ARGUS_MODEL_UPSTREAM ?? DEFAULT_UPSTREAM,
    ...(set.ARGUS_MODEL_KEY ? { ARGUS_MODEL_KEY: set.ARGUS_MODEL_KEY } : {}),
    ARGUS_SESSION_TEMPLATE: wiring.sessionTemplate,
    ARGUS_LOG_LEVEL: set.ARGUS_LOG_LEVEL,
  };
}

export function controllerEnvironment(
  environment: Environment,
  set: UpSettings,
  wiring: Wiring,
): Environment {
  return {
    ...pick(environment, PASSED_ON),
    ...NAMESPACE,
    KUBECONFIG: wiring.controllerKubeconfig,
    ARGUS_LISTEN: `127.0.0.1:${wiring.controllerPort}`,
    // The supervisor never runs two: the next one need not wait for a Lease to expire.
    ARGUS_IDENTITY: "argus-up",
    ARGUS_GATEWAY_URL: `http://127.0.0.1:${wiring.gatewayPort}`,
    ARGUS_GATEWAY_TOKEN_FILE: wiring.gatewayTokenFile,
    ...(set.ARGUS_MODEL ? { ARGUS_MODEL: set.ARGUS_MODEL } : {}),
    ...(set.ARGUS_TRANSCRIBE ? { ARGUS_TRANSCRIBE: set.ARGUS_TRANSCRIBE } : {}),
    ARGUS_LOG_LEVEL: set.ARGUS_LOG_LEVEL,
  };
}

/** Undefined without a bot token: then there is no bot. */
export function telegramEnvironment(
  environment: Environment,
  set: UpSettings,
  wiring: Wiring,
): Environment | undefined {
  if (set.ARGUS_TELEGRAM_TOKEN === undefined) return undefined;
  const names = Object.keys(environment).filter((name) => name.startsWith("ARGUS_TELEGRAM_"));
  // Here is one bot alone: no Lease.
  const {
    ARGUS_TELEGRAM_TOKEN_FILE: _,
    ARGUS_TELEGRAM_LEASE: __,
    ...own
  } = pick(environment, names);
  return {
    ...pick(environment, PASSED_ON),
    ...own,
    ARGUS_TELEGRAM_TOKEN: set.ARGUS_TELEGRAM_TOKEN,
    ARGUS_GATEWAY_URL: `http://127.0.0.1:${wiring.gatewayPort}`,
    ARGUS_GATEWAY_TOKEN_FILE: wiring.gatewayTokenFile,
    ARGUS_LOG_LEVEL: set.ARGUS_LOG_LEVEL,
  };
}
