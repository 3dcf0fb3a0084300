import { mkdir, readFile, writeFile } from "node:fs/promises";
import { homedir, hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { ArgusError, isErrno } from "#lib/errors.ts";
import { createLogger } from "#lib/logger.ts";
import {
  deviceKey,
  folderName,
  readCredentials,
  readPolicy,
  saveCredentials,
} from "#node-host/identity.ts";
import { startNodeHost } from "#node-host/node-host.ts";
import { pair } from "#node-host/pair.ts";
import { serviceFile } from "#node-host/service.ts";
import packageJson from "#package" with { type: "json" };
import { nodeHostEnvironment, programEnvironment } from "../config/node-host.ts";
import type { Environment } from "../config.ts";
import { EXIT } from "../exit.ts";
import { runUntilSignalled, untilSignalled } from "../lifetime.ts";
import { nodeFlags, tuneCollector } from "../node-flags.ts";
import { nodesUrl } from "../nodes-url.ts";

export interface NodeHostCommand {
  environment: Environment;
  url?: string;
  nodeId?: string;
  displayName?: string;
  state?: string;
}

/** What follows the program on the command line of a supervisor, by the way this process was called. */
export type SupervisorWords = string[];

/** Who this device is and where its state lies. */
function place({ environment, ...options }: NodeHostCommand) {
  const set = nodeHostEnvironment(environment);
  const nodeId = options.nodeId ?? set.ARGUS_NODE_ID ?? hostname();
  const displayName = options.displayName ?? set.ARGUS_NODE_DISPLAY_NAME ?? hostname();
  const home = environment.HOME ?? homedir();
  const named = options.state ?? set.ARGUS_NODE_STATE_DIR;
  const stateFolder = resolve(named ?? join(home, ".argus", "node-host", folderName(nodeId)));
  return { set, nodeId, displayName, home, stateFolder };
}

export async function run(options: NodeHostCommand, words: SupervisorWords): Promise<number> {
  tuneCollector();
  const { set, nodeId, displayName, home, stateFolder } = place(options);
  const kept = await readCredentials(stateFolder);
  const url = options.url ?? set.ARGUS_NODE_WS_URL ?? kept?.url;
  if (!url) {
    const how = "name a gateway with --url, or pair this device: argus node-host pair <url>";
    throw new ArgusError("InvalidInput", `no gateway to connect to: ${how}`);
  }
  const host = {
    url: nodesUrl(url),
    nodeId: options.nodeId ?? kept?.nodeId ?? nodeId,
    displayName,
    stateFolder,
    home,
    token: async () => set.ARGUS_NODE_TOKEN ?? kept?.token,
    version: packageJson.version,
    supervisor: [process.execPath, process.argv[1] ?? "", ...words],
    env: programEnvironment(options.environment),
    policy: () => readPolicy(stateFolder, textOf),
    logger: createLogger("node-host", set.ARGUS_LOG_LEVEL),
  };
  await mkdir(stateFolder, { recursive: true, mode: 0o700 });
  return runUntilSignalled((signal) => startNodeHost(host, signal));
}

export async function pairDevice(options: NodeHostCommand & { url: string }): Promise<number> {
  const { nodeId, displayName, stateFolder } = place(options);
  const url = nodesUrl(options.url);
  const showCode = (code: string) =>
    process.stdout.write(
      `Pairing code: ${code}\nConfirm it in the chat or with the gateway's owner; this waits.\n`,
    );
  const key = await deviceKey(stateFolder);
  const signal = untilSignalled();
  const credentials = await pair({ url, nodeId, displayName, key, showCode }, signal);
  await saveCredentials(stateFolder, credentials);
  process.stdout.write(`Paired as ${credentials.nodeId}. Start it: argus node-host run\n`);
  return EXIT.ok;
}

export async function install(
  options: NodeHostCommand & { print?: boolean },
  words: string[],
): Promise<number> {
  const { home, stateFolder } = place(options);
  const command = [
    process.execPath,
    ...nodeFlags("node-host"),
    resolve(process.argv[1] ?? ""),
    ...words,
    "--state",
    stateFolder,
  ];
  const file = serviceFile(process.platform, { command, home });
  if (!file)
    throw new ArgusError("InvalidInput", `no service manager is known for ${process.platform}`);
  if (options.print) {
    process.stdout.write(file.text);
    return EXIT.ok;
  }
  await mkdir(dirname(file.path), { recursive: true });
  await writeFile(file.path, file.text);
  process.stdout.write(
    `Wrote ${file.path}\nNow run:\n${file.next.map((line) => `  ${line}\n`).join("")}`,
  );
  return EXIT.ok;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
