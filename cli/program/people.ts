import type { Command } from "commander";
import type { Environment } from "../config.ts";
import { runCommand } from "../lifetime.ts";
import { remote } from "./options.ts";

const commands = () => import("../commands/people.ts");

/** `argus people list|approve|remove`. */
export function addPeople(program: Command, environment: Environment): void {
  const people = program.command("people").description("who may write to the agent in chats");
  remote(people.command("list", { isDefault: true }).description("show them, and who asks"))
    .option("--json", "as JSON")
    .action((options) =>
      runCommand(async () => (await commands()).list({ ...options, environment })),
    );
  remote(people.command("approve").description("let in who was shown this code"))
    .argument("<code>")
    .option("--owner", "they may let others in, too")
    .action((code, options) =>
      runCommand(async () => (await commands()).approve({ ...options, code, environment })),
    );
  remote(people.command("remove").description("take somebody's access away"))
    .argument("<id>", "as the list names them, for example telegram:12345")
    .action((id, options) =>
      runCommand(async () => (await commands()).remove({ ...options, id, environment })),
    );
}
