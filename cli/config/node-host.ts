import { z } from "zod";
import { type Environment, logLevel, parseEnvironment } from "../config.ts";

/** Environment of `argus node-host`; options of the command line come first. */
export const NodeHostEnvironment = z.object({
  ARGUS_NODE_WS_URL: z
    .string()
    .optional()
    .meta({ description: "Address of the gateway, ending in /nodes/ws" }),
  ARGUS_NODE_ID: z
    .string()
    .optional()
    .meta({ description: "Id of this device (default: host name)" }),
  ARGUS_NODE_DISPLAY_NAME: z.string().optional().meta({ description: "Name for people" }),
  ARGUS_NODE_TOKEN: z
    .string()
    .optional()
    .meta({ description: "Token; else the one that pairing has left" }),
  ARGUS_NODE_STATE_DIR: z
    .string()
    .optional()
    .meta({ description: "Folder of jobs, token and policy (default: ~/.argus/node-host/<id>)" }),
  ARGUS_LOG_LEVEL: logLevel(),
});

export const nodeHostEnvironment = (environment: Environment) =>
  parseEnvironment(NodeHostEnvironment, environment, { secrets: ["ARGUS_NODE_TOKEN"] });

/** What programs see of the node-host's environment: never a token of Argus. */
const VISIBLE =
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TERM|TMPDIR|TMP|TEMP|XDG_\w+|SSH_AUTH_SOCK|DISPLAY|WAYLAND_DISPLAY|DBUS_SESSION_BUS_ADDRESS|SystemRoot|ComSpec|PATHEXT|APPDATA|LOCALAPPDATA|ProgramFiles|USERPROFILE)$/;
const FALLBACK_PATH = "/usr/local/bin:/usr/bin:/bin";

export function programEnvironment(environment: Environment): Environment {
  const visible = Object.entries(environment).filter(([name]) => VISIBLE.test(name));
  return { PATH: FALLBACK_PATH, ...Object.fromEntries(visible) };
}
