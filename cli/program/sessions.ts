import type { Command } from "commander";
import type { Environment } from "../config.ts";
import { runCommand } from "../lifetime.ts";
import { dataOption, remote } from "./options.ts";

const commands = () => import("../commands/sessions.ts");
const parts = () => import("../commands/session-parts.ts");

/** `argus sessions …` */
export function addSessions(program: Command, environment: Environment): void {
  const sessions = program
    .command("sessions")
    .description("list, create, name, delete, restart sessions; their conversations and chats");
  addLife(sessions, environment);
  addPod(sessions, environment);
  addConversation(sessions, environment);
  addChats(sessions, environment);
}

function addLife(sessions: Command, environment: Environment): void {
  remote(sessions.command("list", { isDefault: true }).description("show all sessions"))
    .option("--json", "as JSON")
    .action((options) =>
      runCommand(async () => (await commands()).list({ ...options, environment })),
    );
  remote(sessions.command("create").description("make a session"))
    .argument("[name]", "its name (default: chosen by the gateway)")
    .option("--title <title>", "what people call it")
    .option("--echo", "run the built-in echo instead of Codex: no model key needed")
    .action((name, options) =>
      runCommand(async () => (await commands()).create({ ...options, name, environment })),
    );
  remote(sessions.command("delete").description("delete a session"))
    .argument("<name>")
    .option("--yes", "do not ask")
    .action((name, options) =>
      runCommand(async () => (await commands()).remove({ ...options, name, environment })),
    );
  remote(sessions.command("show").description("where a session stands and what waits in it"))
    .argument("<name>")
    .option("--json", "as JSON")
    .action((name, options) =>
      runCommand(async () => (await parts()).show({ ...options, name, environment })),
    );
}

function addPod(sessions: Command, environment: Environment): void {
  sessions
    .command("restart")
    .description("end a session's pod; the controller makes it anew, its files stay")
    .argument("<name>")
    .option(...dataOption)
    .action((name, options) =>
      runCommand(async () => (await commands()).restart({ ...options, name, environment })),
    );
  sessions
    .command("runtime")
    .description("switch a session between codex and echo")
    .argument("<name>")
    .argument("<runtime>", "codex or echo")
    .option(...dataOption)
    .action((name, runtime, options) =>
      runCommand(async () =>
        (await commands()).runtime({ ...options, name, runtime, environment }),
      ),
    );
}

function addConversation(sessions: Command, environment: Environment): void {
  remote(sessions.command("rename").description("say what people call a session"))
    .argument("<name>")
    .argument("<title>", "an empty one takes it away")
    .action((name, title, options) =>
      runCommand(async () => (await parts()).rename({ ...options, name, title, environment })),
    );
  remote(sessions.command("new").description("begin a new conversation with the next message"))
    .argument("<name>")
    .action((name, options) =>
      runCommand(async () => (await parts()).begin({ ...options, name, environment })),
    );
  remote(sessions.command("thread").description("print the main thread, or choose another one"))
    .argument("<name>")
    .argument("[thread]")
    .action((name, threadId, options) =>
      runCommand(async () => (await parts()).thread({ ...options, name, threadId, environment })),
    );
}

function addChats(sessions: Command, environment: Environment): void {
  remote(sessions.command("bind").description("let a chat talk to a session"))
    .argument("<name>")
    .argument("<chat>", "channel and chat, for example telegram:12345")
    .option("--home", "events and heartbeats speak to this chat")
    .action((name, chat, options) =>
      runCommand(async () => (await parts()).bind({ ...options, name, chat, environment })),
    );
  remote(sessions.command("unbind").description("let a chat talk to no session"))
    .argument("<chat>")
    .action((chat, options) =>
      runCommand(async () => (await parts()).unbind({ ...options, chat, environment })),
    );
}
