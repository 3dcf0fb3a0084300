import type { Command } from "commander";
import type { Environment } from "../config.ts";
import { runCommand } from "../lifetime.ts";
import { ofSession } from "./options.ts";

const nodes = () => import("../nodes/commands.ts");

/** `argus nodes`, `argus run`, `argus jobs`, `argus approve`: devices that a session uses. */
export function addNodes(program: Command, environment: Environment): void {
  addNodeCommands(program, environment);
  addJobs(program, environment);
  ofSession(program.command("run").description("run a program on a device"))
    .argument("<node>")
    .argument("[program...]", "after --: the program and its words")
    .option("--cwd <folder>", "its working folder")
    .option("--env <name=value...>", "added to its environment")
    .option("--timeout <seconds>", "end it then")
    .option(
      "--queue <duration>",
      "a device that is away gets it when it comes back within that time (alone: 24h)",
    )
    .option(
      "-t, --tty",
      "on a terminal: every key goes to the program; ~. at the beginning of a line leaves it",
    )
    .option("--raw", "leave control characters as they are, also on a terminal")
    .action((node, words, options) =>
      runCommand(async () => {
        const argv = (await nodes()).programOf(words);
        return (await import("../nodes/run.ts")).run({ ...options, node, argv, environment });
      }),
    );
  ofSession(program.command("approve").description("confirm a device or a command that waits"))
    .argument("<code>", "pairing code, or a command's code from argus nodes pending")
    .option("--refuse", "refuse it instead")
    .action((code, options) =>
      runCommand(async () => (await nodes()).decide({ ...options, code, environment })),
    );
}

function addNodeCommands(program: Command, environment: Environment): void {
  const parent = program.command("nodes").description("list, confirm, cut off devices");
  ofSession(parent.command("list", { isDefault: true }).description("devices of the session"))
    .option("--all", "those of all sessions; needs the admin token")
    .option("--json", "as JSON")
    .action((options) => runCommand(async () => (await nodes()).list({ ...options, environment })));
  ofSession(parent.command("pending").description("devices and commands that wait for a word"))
    .option("--json", "as JSON")
    .action((options) =>
      runCommand(async () => (await nodes()).pending({ ...options, environment })),
    );
  for (const [name, refuse] of [
    ["approve", false],
    ["refuse", true],
  ] as const) {
    ofSession(parent.command(name).description(`${name} a device or a command`))
      .argument("<code>")
      .action((code, options) =>
        runCommand(async () => (await nodes()).decide({ ...options, code, refuse, environment })),
      );
  }
  ofSession(parent.command("revoke").description("cut a device off"))
    .argument("<node>")
    .action((node, options) =>
      runCommand(async () => (await nodes()).revoke({ ...options, node, environment })),
    );
}

function addJobs(program: Command, environment: Environment): void {
  const parent = program.command("jobs").description("programs that run on devices, or ran");
  ofSession(parent.command("list", { isDefault: true }).description("jobs of the session"))
    .argument("[node]", "only of this one")
    .option("--json", "as JSON")
    .action((node, options) =>
      runCommand(async () => (await nodes()).jobs({ ...options, node, environment })),
    );
  ofSession(
    parent
      .command("kill")
      .description("end a job with everything it started, or cancel a queued call"),
  )
    .argument("<node>")
    .argument("<job>")
    .action((node, job, options) =>
      runCommand(async () => (await nodes()).kill({ ...options, node, job, environment })),
    );
}
