import { join } from "node:path";
import { findGateway } from "../client.ts";
import { hasModel, upSettings } from "../config/up.ts";
import type { Environment } from "../config.ts";
import { ownDataFolder } from "../data-folder.ts";
import { type Check, installCommand, needsFixing, report } from "../doctor/check.ts";
import {
  dataCheck,
  isolationCheck,
  modelCheck,
  portCheck,
  runningCheck,
} from "../doctor/machine.ts";
import { bwrapCheck, codexCheck, nodeCheck, toolCheck } from "../doctor/programs.ts";
import { EXIT } from "../exit.ts";
import { portOption } from "../up/ports.ts";

export interface DoctorCommand {
  data?: string;
  port: string;
  environment: Environment;
}

/** `argus doctor`: 1 when something needed is missing. */
export async function doctor(command: DoctorCommand): Promise<number> {
  const checks = await allChecks(command);
  process.stdout.write(report(checks));
  return needsFixing(checks) ? EXIT.failed : EXIT.ok;
}

async function allChecks(command: DoctorCommand): Promise<Check[]> {
  const { data, environment } = command;
  const ownUsers = process.platform === "linux" && process.getuid?.() === 0;
  const url = knownUrl(command);
  const install = (debian: string, mac: string) =>
    installCommand({ debian, mac }, process.platform);
  const [npm, git, codex, bwrap, running, port, kubectl] = await Promise.all([
    toolCheck(
      { name: "npm", args: ["--version"], needed: true, why: "it installs the packages" },
      install("npm", "node"),
    ),
    toolCheck(
      { name: "git", args: ["--version"], needed: true, why: "it updates Argus, agents use it" },
      install("git", "git"),
    ),
    codexCheck(join(import.meta.dirname, "..", "..")),
    bwrapCheck(process.platform),
    runningCheck(url),
    portCheck(portOption("--port", command.port), url),
    toolCheck(
      { name: "kubectl", args: ["version", "--client"], needed: false, why: "optional" },
      "argus apply and argus sessions do without it",
    ),
  ]);
  const folder = dataCheck(ownDataFolder(data, environment), ownUsers);
  const model = modelCheck(hasModel(upSettings(environment)));
  const isolation = isolationCheck(ownUsers);
  const node = nodeCheck(process.version);
  return [node, npm, git, codex, bwrap, folder, running, port, model, isolation, kubectl];
}

function knownUrl(command: DoctorCommand): string | undefined {
  try {
    return findGateway(command).url;
  } catch {
    return undefined;
  }
}
