import { join, resolve } from "node:path";
import { ArgusError } from "#lib/errors.ts";
import type { Environment } from "./config.ts";
import { ownHome } from "./home.ts";

/** Where one installation of `argus up` keeps everything. */
export interface DataFolder {
  root: string;
  bin: string;
  logs: string;
  /** Copy of the program for session users that cannot reach its own folder. */
  program: string;
  cluster: string;
  state: string;
  adminKubeconfig: string;
  controllerKubeconfig: string;
  gatewayKubeconfig: string;
  token: string;
  /** The admin token in use, as the controller reads it. */
  gatewayToken: string;
  client: string;
  lock: string;
  lockHolder: string;
  children: string;
}

interface Place {
  environment: Environment;
  platform: NodeJS.Platform;
  /** Numeric user id; undefined where there is none. */
  uid: number | undefined;
}

/** The folder that `--data` names, else ARGUS_DATA, else the platform's place for a user's or the system's state. */
export function dataFolder(named: string | undefined, place: Place): DataFolder {
  const root = resolve(named ?? place.environment.ARGUS_DATA ?? defaultRoot(place));
  const at = (...parts: string[]) => join(root, ...parts);
  return {
    root,
    bin: at("bin"),
    logs: at("logs"),
    program: at("program"),
    cluster: at("cluster"),
    state: at("state"),
    adminKubeconfig: at("kubeconfig"),
    controllerKubeconfig: at("private", "controller.kubeconfig"),
    gatewayKubeconfig: at("private", "gateway.kubeconfig"),
    token: at("private", "token"),
    gatewayToken: at("private", "gateway-token"),
    client: at("client.json"),
    lock: at("up.lock"),
    lockHolder: at("up.json"),
    children: at("children.json"),
  };
}

/** This process's data folder. */
export function ownDataFolder(named: string | undefined, environment: Environment): DataFolder {
  return dataFolder(named, { environment, platform: process.platform, uid: process.getuid?.() });
}

function defaultRoot({ environment, platform, uid }: Place): string {
  // Root gives each session its own user id, and those cannot look into root's home.
  if (uid === 0 && platform !== "darwin") return "/var/lib/argus";
  const home = environment.HOME ?? ownHome();
  if (!home) {
    throw new ArgusError(
      "InvalidInput",
      "this user has no home: name a folder with --data or ARGUS_DATA",
    );
  }
  if (platform === "darwin") return join(home, "Library", "Application Support", "argus");
  return join(environment.XDG_DATA_HOME ?? join(home, ".local", "share"), "argus");
}
