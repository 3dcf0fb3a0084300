import type { ArgusSession } from "#crds/kinds.ts";
import { POD, type RuntimeSpec } from "#protocol/pod.ts";
import { resourcesWith } from "./container-resources.ts";
import { parseQuantity } from "./quantity.ts";

const DEFAULT_COMMAND = ["codex", "app-server"];

/** What the bridge is told to run: the part of the session's spec that concerns it. */
export function runtimeSpec(
  { spec }: Pick<ArgusSession, "spec">,
  { image, model }: { image: string; model?: string | undefined },
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
    ...(model ? { model } : {}),
    ...(mcpServers?.length ? { mcpServers: mcpServers.map(({ name }) => name) } : {}),
  };
}
