import type { Command } from "commander";
import type { Environment } from "./config.ts";
import { runCommand } from "./lifetime.ts";

const commands = () => import("./commands/node-host.ts");

/** The node-host's commands under `program`; `words` = how it is called after the program's name. */
export function addNodeHost(program: Command, environment: Environment, words: string[]): void {
  const placed = (command: Command) =>
    command
      .option("--node-id <id>", "id of this device (default: ARGUS_NODE_ID, else the host name)")
      .option("--display-name <name>", "its name for people (default: the host name)")
      .option(
        "--state <folder>",
        "folder of its jobs, token and policy (default: ~/.argus/node-host/<id>)",
      );
  placed(program.command("run", { isDefault: true }).description("connect and run commands"))
    .option("--url <url>", "gateway (default: ARGUS_NODE_WS_URL, else the paired one)")
    .action((options) =>
      runCommand(async () =>
        (await commands()).run({ ...options, environment }, [...words, "supervise"]),
      ),
    );
  placed(
    program.command("pair").description("join a gateway: shows a code that its owner confirms"),
  )
    .argument("<url>", "address of the gateway")
    .action((url, options) =>
      runCommand(async () => (await commands()).pairDevice({ ...options, url, environment })),
    );
  placed(program.command("install").description("write a service file that keeps it running"))
    .option("--print", "only print it")
    .action((options) =>
      runCommand(async () =>
        (await commands()).install({ ...options, environment }, [...words, "run"]),
      ),
    );
  program
    .command("supervise", { hidden: true })
    .argument("<folder>")
    .action(async (folder) => (await import("./supervise.ts")).superviseJob(folder));
}
