import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TurnDefaults } from "#protocol/bridge.ts";
import { LOOPBACK_SECRET_HEADER } from "./loopback/headers.ts";

export interface CodexConfigOptions {
  /** Codex's own default when absent. */
  model?: string | undefined;
  approvals: "never" | "untrusted";
  sandbox: TurnDefaults["sandbox"];
  /** Names of the session's own MCP servers. */
  mcpServers?: readonly string[] | undefined;
  loopback: { port: number; secret: string };
}

/**
 * The text of config.toml: the model through the loopback port, nothing that calls out by itself. Retries keep Codex's
 * defaults, with which a turn outlives a restart of the gateway in the middle of a stream.
 */
export function codexConfig(options: CodexConfigOptions): string {
  const { model, approvals, sandbox, loopback, mcpServers = [] } = options;
  // Codex refuses to start with "untrusted" in the file; each thread and turn brings it instead.
  const policy = approvals === "never" ? "never" : "on-request";
  return `# Written by Argus at each start of the app-server; changes do not last.
${model ? `model = ${text(model)}\n` : ""}model_provider = "argus"
approval_policy = ${text(policy)}
sandbox_mode = ${text(sandbox)}
check_for_update_on_startup = false
web_search = "disabled"
# AGENTS.md comes with the turn.
project_doc_max_bytes = 0

[analytics]
enabled = false

[feedback]
enabled = false

[features]
plugins = false
apps = false
remote_plugin = false
shell_snapshot = false

[model_providers.argus]
name = "Argus"
base_url = ${text(`http://127.0.0.1:${loopback.port}/openai/v1`)}
wire_api = "responses"
requires_openai_auth = false
supports_websockets = false
http_headers = { ${text(LOOPBACK_SECRET_HEADER)} = ${text(loopback.secret)} }

# The gateway and each device decide what may be done; asking twice helps nobody.
${mcpServer("argus", "/mcp", true, loopback)}${others(mcpServers)
  .map((name) => mcpServer(name, `/mcp/servers/${name}`, approvals === "never", loopback))
  .join("")}`;
}

/** Names of the servers in config.toml: the gateway's own and the session's. */
export const mcpServerNames = (ofSession: readonly string[] = []): string[] => [
  "argus",
  ...others(ofSession),
];

const others = (names: readonly string[]) => names.filter((name) => name !== "argus");

function mcpServer(
  name: string,
  path: string,
  isTrusted: boolean,
  { port, secret }: CodexConfigOptions["loopback"],
): string {
  return `
[mcp_servers.${name}]
url = ${text(`http://127.0.0.1:${port}${path}`)}
http_headers = { ${text(LOOPBACK_SECRET_HEADER)} = ${text(secret)} }
${isTrusted ? 'default_tools_approval_mode = "approve"\n' : ""}startup_timeout_sec = 30
tool_timeout_sec = 3600
`;
}

/** A TOML basic string; JSON's escapes are a part of TOML's, but for one character. */
const text = (value: string) => JSON.stringify(value).replaceAll("\u007f", "\\u007f");

/** Puts `config` in place in one step, readable by the agent's user alone; makes the folder. */
export async function writeCodexConfig(codexHome: string, config: string): Promise<void> {
  await mkdir(codexHome, { recursive: true, mode: 0o700 });
  const draft = join(codexHome, `config.toml.${randomUUID()}`);
  try {
    await writeFile(draft, config, { mode: 0o600, flag: "wx" });
    await rename(draft, join(codexHome, "config.toml"));
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
