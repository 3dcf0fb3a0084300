import type { ArgusSession } from "#crds/kinds.ts";
import { POD, type RuntimeSpec } from "#protocol/pod.ts";
import { resourcesWith } from "./container-resources.ts";
import { parseQuantity } from "./quantity.ts";

const DEFAULT_COMMAND = ["codex", "app-server"];

interface RuntimeSettings {
  image: string;
  model?: string | undefined;
  /** Of sessions that name none. */
  transcribe?: string | undefined;
}

/** What the bridge is told to run: the part of the session's spec that concerns it. */
export function runtimeSpec(
  { spec }: Pick<ArgusSession, "spec">,
  { image, model, transcribe: fallback }: RuntimeSettings,
): RuntimeSpec {
  const { runtime, approvals, idle, limits, mcpServers } = spec;
  const command = runtime.command?.length ? runtime.command : DEFAULT_COMMAND;
  const memory = resourcesWith(spec.resources).limits.memory ?? "0";
  return {
    command: [...command, ...(runtime.args ?? [])],
    protocol: runtime.protocol,
    ...(runtime.install ? { install: runtime.install } : {}),
    image,
    approvals,
    workingDir: runtime.workingDir ?? POD.workspace,
    parkAfterSeconds: idle.parkAfterSeconds,
    pids: limits.pids,
    memoryBytes: Math.floor(parseQuantity(memory) ?? 0),
    ...optional({ model, transcribe: runtime.transcribe ?? fallback }),
    ...(mcpServers?.length ? { mcpServers: mcpServers.map(({ name }) => name) } : {}),
  };
}

/** Without the members that are empty. */
function optional<T extends Record<string, string | undefined>>(
  words: T,
): { [K in keyof T]?: string } {
  const set = Object.entries(words).filter(([, text]) => text);
  return Object.fromEntries(set) as { [K in keyof T]?: string };
}
