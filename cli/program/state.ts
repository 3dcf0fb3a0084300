import type { Command } from "commander";
import type { Environment } from "../config.ts";
import { runCommand } from "../lifetime.ts";
import { remote } from "./options.ts";

const stateCommands = () => import("../commands/state.ts");

const ofState = (command: Command) =>
  remote(command).option("--folder <folder>", "state folder of a gateway that does not run");

/** `argus state check|export|backup|import`. */
export function addState(state: Command, environment: Environment): void {
  state.description("look at the gateway's durable state, copy it, put a copy back");
  ofState(state.command("check", { isDefault: true }))
    .description("read every document and say which cannot be used")
    .option("--json", "as JSON")
    .action((options) =>
      runCommand(async () => (await stateCommands()).check({ ...options, environment })),
    );
  ofState(state.command("export"))
    .description("print all documents as lines of JSON; the gateway's private keys are among them")
    .option("--session <name>", "only this session's")
    .action((options) =>
      runCommand(async () => (await stateCommands()).exportState({ ...options, environment })),
    );
  ofState(state.command("backup"))
    .description("write all documents into a file that only you can read")
    .argument("<file>")
    .action((file, options) =>
      runCommand(async () => (await stateCommands()).backup({ ...options, file, environment })),
    );
  ofState(state.command("import"))
    .description("put documents of a backup back where nothing is lost by it")
    .argument("<file>")
    .option("--session <name>", "only this session's")
    .option("--by-name", "a session that was made again gets the document of its name")
    .option("--replace", "also in the place of documents that are in use")
    .action((file, options) =>
      runCommand(async () =>
        (await stateCommands()).importState({ ...options, file, environment }),
      ),
    );
}
