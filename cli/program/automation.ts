import type { Command } from "commander";
import type { Environment } from "../config.ts";
import { runCommand } from "../lifetime.ts";
import { ofSession } from "./options.ts";

const events = () => import("../commands/events.ts");
const cron = () => import("../commands/cron.ts");

/** `argus events …` and `argus cron …` */
export function addAutomation(program: Command, environment: Environment): void {
  addEvents(
    program.command("events").description("show, repeat, give up what a session was told"),
    environment,
  );
  addCron(program.command("cron").description("schedules that wake a session"), environment);
}

function addEvents(program: Command, environment: Environment): void {
  ofSession(
    program
      .command("list", { isDefault: true })
      .description("show those that wait, with the reason, and dead ones"),
  )
    .option("--all", "the others too")
    .option("--json", "as JSON")
    .action((options) =>
      runCommand(async () => (await events()).list({ ...options, environment })),
    );
  ofSession(program.command("show").description("show one event with its text"))
    .argument("<key>")
    .action((key, options) =>
      runCommand(async () => (await events()).show({ ...options, key, environment })),
    );
  ofSession(
    program.command("retry").alias("replay").description("tell the session a dead one again"),
  )
    .argument("<key>")
    .action((key, options) =>
      runCommand(async () => (await events()).retry({ ...options, key, environment })),
    );
  ofSession(program.command("drop").description("give a waiting one up, forget a dead one"))
    .argument("<key>")
    .action((key, options) =>
      runCommand(async () => (await events()).drop({ ...options, key, environment })),
    );
}

function addCron(program: Command, environment: Environment): void {
  ofSession(program.command("list", { isDefault: true }).description("show a session's schedules"))
    .option("--json", "as JSON")
    .action((options) => runCommand(async () => (await cron()).list({ ...options, environment })));
  ofSession(program.command("add").description("make a schedule"))
    .argument("<expr>", "5 fields, or 6 with seconds first")
    .argument("<text>", "what the session is told at each time")
    .option("--id <id>", "its id (default: chosen by the gateway); one that is there is replaced")
    .option("--time-zone <zone>", "for example Europe/Berlin (default: UTC)")
    .action((expr, text, options) =>
      runCommand(async () => (await cron()).add({ ...options, expr, text, environment })),
    );
  ofSession(program.command("update").description("change a schedule that the gateway made"))
    .argument("<id>")
    .option("--expr <expr>", "5 fields, or 6 with seconds first")
    .option("--text <text>", "what the session is told at each time")
    .option("--time-zone <zone>", "for example Europe/Berlin")
    .option("--enabled", "switch it on")
    .option("--no-enabled", "switch it off")
    .action((id, options) =>
      runCommand(async () => (await cron()).update({ ...options, id, environment })),
    );
  ofSession(program.command("remove").description("remove a schedule that the gateway made"))
    .argument("<id>")
    .action((id, options) =>
      runCommand(async () => (await cron()).remove({ ...options, id, environment })),
    );
  ofSession(program.command("run").description("tell the session a schedule's text now"))
    .argument("<id>")
    .action((id, options) =>
      runCommand(async () => (await cron()).run({ ...options, id, environment })),
    );
}
