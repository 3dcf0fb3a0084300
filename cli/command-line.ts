import { Command, CommanderError } from "commander";
import packageJson from "#package" with { type: "json" };
import { readEnvironment } from "./config.ts";
import { withDefault } from "./duration.ts";
import { EXIT } from "./exit.ts";
import { runCommand } from "./lifetime.ts";
import { addNodeHost } from "./node-host-program.ts";
import { addAutomation } from "./program/automation.ts";
import { addNodes } from "./program/nodes.ts";
import { dataOption, ofSession } from "./program/options.ts";
import { addPeople } from "./program/people.ts";
import { addSessions } from "./program/sessions.ts";
import { addState } from "./program/state.ts";

// Each command imports its own code when it is called: `argus chat` starts fast, `argus bridge` stays small.
const program = new Command("argus")
  .description("Self-hosted assistant gateway on Kubernetes")
  .version(packageJson.version)
  .showHelpAfterError("(argus --help lists the commands)")
  .exitOverride();

const environment = readEnvironment();

program
  .command("up")
  .description("run everything on this machine: API server, sessions, controller and gateway")
  .option(...dataOption)
  .option("--port <number>", "port of the gateway; 0 takes a free one", "8080")
  .option("--api-port <number>", "port of the Kubernetes API; 0 takes a free one", "7443")
  .action((options) =>
    runCommand(async () => (await import("./up.ts")).up({ ...options, environment })),
  );

program
  .command("chat")
  .description("talk to a session")
  .argument("[session]", "session name (default: main)")
  .option("--new", "make a new session")
  .option(
    "--thread <which>",
    "main (default): the session's conversation; latest: the thread used last; new: one beside it",
    "main",
  )
  .option("--message <text>", "send one message, print the answer, exit")
  .option("--approvals <how>", "ask (default), accept or decline what the agent asks for", "ask")
  .option("--url <url>", "gateway (default: the local one)")
  .option("--token <token>", "token (default: the local one, or ARGUS_TOKEN)")
  .option(...dataOption)
  .action((session, options) =>
    runCommand(async () => (await import("./chat.ts")).chat({ ...options, session, environment })),
  );

program
  .command("send")
  .description(
    "leave a message for a session: accepted means that its turn follows, whatever happens",
  )
  .argument("<text>")
  .option("--session <name>", "session name (default: main)")
  .option("--key <key>", "the same key is the same message, however often it is sent")
  .option("--url <url>", "gateway (default: the local one)")
  .option("--token <token>", "token (default: the local one, or ARGUS_TOKEN)")
  .option(...dataOption)
  .action((text, options) =>
    runCommand(async () =>
      (await import("./commands/send.ts")).send({ ...options, text, environment }),
    ),
  );

addSessions(program, environment);
addPeople(program, environment);
addAutomation(program, environment);

const deliveries = program
  .command("deliveries")
  .description("show, repeat, give up what a session has to say to a chat");
const deliveryCommands = () => import("./commands/deliveries.ts");
ofSession(
  deliveries
    .command("list", { isDefault: true })
    .description("show those that wait, with the reason, and dead ones"),
)
  .option("--all", "the sent ones too")
  .option("--json", "as JSON")
  .action((options) =>
    runCommand(async () => (await deliveryCommands()).list({ ...options, environment })),
  );
ofSession(deliveries.command("retry").description("send a dead one once more, a waiting one now"))
  .argument("<id>")
  .action((id, options) =>
    runCommand(async () => (await deliveryCommands()).retry({ ...options, id, environment })),
  );
ofSession(deliveries.command("drop").description("give a waiting one up"))
  .argument("<id>")
  .action((id, options) =>
    runCommand(async () => (await deliveryCommands()).drop({ ...options, id, environment })),
  );

program
  .command("apply")
  .description("create or change ArgusSessions and ArgusCrons from YAML")
  .requiredOption("-f, --file <file>", "YAML file with one or more objects; - reads stdin")
  .option("-n, --namespace <name>", "namespace of objects that name none", "default")
  .option("--force", "take over fields that somebody else set")
  .option(...dataOption)
  .action((options) =>
    runCommand(async () =>
      (await import("./commands/apply.ts")).apply({ ...options, environment }),
    ),
  );

addState(program.command("state"), environment);

program
  .command("doctor")
  .description("say what is missing on this machine and how to fix it")
  .option(...dataOption)
  .option("--port <number>", "port that argus up would take", "8080")
  .action((options) =>
    runCommand(async () =>
      (await import("./commands/doctor.ts")).doctor({ ...options, environment }),
    ),
  );

program
  .command("token")
  .description("print the local gateway's token")
  .option(...dataOption)
  .action((options) =>
    runCommand(async () =>
      (await import("./commands/token.ts")).token({ ...options, environment }),
    ),
  );

program
  .command("crds")
  .description("print the CustomResourceDefinitions as YAML")
  .action(() => runCommand(async () => (await import("./commands/crds.ts")).crds()));

program
  .command("controller")
  .description("make the cluster match the custom resources")
  .action(() =>
    runCommand(async () => (await import("./commands/controller.ts")).controller(environment)),
  );
program
  .command("gateway")
  .description("let clients, devices and agents reach sessions")
  .action(() =>
    runCommand(async () => (await import("./commands/gateway.ts")).gateway(environment)),
  );
program
  .command("telegram")
  .description("let people talk to their sessions in Telegram")
  .action(() =>
    runCommand(async () => (await import("./commands/telegram.ts")).telegram(environment)),
  );
program
  .command("webhook")
  .description("the channel that posts each delivery, signed, to an address of yours")
  .action(() =>
    runCommand(async () => (await import("./commands/webhook.ts")).webhook(environment)),
  );
program
  .command("bridge")
  .description("keep an agent alive in its pod and share it")
  .action(() => runCommand(async () => (await import("./commands/bridge.ts")).bridge(environment)));
const nodeHost = program
  .command("node-host")
  .description("let the agent run commands on this device");
addNodeHost(nodeHost, environment, ["node-host"]);
addNodes(program, environment);
program
  .command("echo")
  .description("an app-server that repeats what it hears, for trying Argus without a model")
  .action(() => runCommand(async () => (await import("./commands/echo.ts")).echo(environment)));

/** Runs the command that the process was called with; the exit code is set when it resolves. */
export async function runCommandLine(): Promise<void> {
  try {
    await program.parseAsync(withDefault(process.argv, "--queue", "24h"));
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
}
