import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { ArgusError } from "#lib/errors.ts";
import type { TurnDefaults } from "#protocol/bridge.ts";
import type { RuntimeSpec } from "#protocol/pod.ts";
import { findProgram, nativeCodex } from "./codex-binary.ts";
import { codexConfig, mcpServerNames, writeCodexConfig } from "./codex-config.ts";
import { withNpmPrefix } from "./npm-prefix.ts";

export interface PrepareOptions {
  runtime: RuntimeSpec;
  home: string;
  workspace: string;
  temporary: string;
  agentEnv: Record<string, string>;
  loopback: { port: number; secret: string };
  /** What a thread gets that names none and that the bridge did not fill in; default: read-only. */
  sandbox?: TurnDefaults["sandbox"];
}

export interface AppServerCommand {
  command: string[];
  env: Record<string, string>;
  cwd: string;
  /** The command is the built-in echo. */
  echo: boolean;
  /** MCP servers that it starts for each thread. */
  toolServers?: string[];
}

/**
 * What to start as the app-server, everything it needs written to disk. Call it before each start: the secret changes with
 * the bridge. Throws NotFound (program not there; the message says what to install) or what the file system says.
 */
export async function prepareAppServer(options: PrepareOptions): Promise<AppServerCommand> {
  const { runtime, home, workspace, temporary, agentEnv } = options;
  const env: Record<string, string> = { ...withNpmPrefix(agentEnv, home), TMPDIR: temporary };
  const cwd = runtime.workingDir || workspace;
  await mkdir(temporary, { recursive: true });
  await mkdir(cwd, { recursive: true });
  const [program = "", ...words] = runtime.command;
  const echo = isEcho(runtime.command);
  if (!echo && runtime.protocol === "codex" && basename(program) === "codex") {
    return prepareCodex(options, { words, env, cwd, program });
  }
  if (!(await findProgram(program, env.PATH ?? ""))) throw notThere(program);
  return { command: [program, ...words], env, cwd, echo };
}

const isEcho = ([program = "", word]: string[]) => basename(program) === "argus" && word === "echo";

async function prepareCodex(
  { runtime, home, loopback, sandbox = "read-only" }: PrepareOptions,
  start: { program: string; words: string[]; env: Record<string, string>; cwd: string },
): Promise<AppServerCommand> {
  const { program, words, env, cwd } = start;
  const codexHome = join(home, ".codex");
  const native = await nativeCodex(program, env.PATH ?? "");
  const { model, approvals, mcpServers } = runtime;
  const config = codexConfig({ model, approvals, mcpServers, sandbox, loopback });
  await writeCodexConfig(codexHome, config);
  return {
    command: [native, ...words],
    env: { RUST_LOG: "warn", ...env, CODEX_HOME: codexHome },
    cwd,
    echo: false,
    toolServers: mcpServerNames(mcpServers),
  };
}

function notThere(program: string): ArgusError {
  const message = `the app-server ${program} is not on the PATH of the session; put it into the image or install it with spec.runtime.install`;
  return new ArgusError("NotFound", message, { program });
}
