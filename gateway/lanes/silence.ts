import type { ArgusSessionSpec } from "#crds/argus-session.ts";
import type { TurnRecord } from "./turn-record.ts";

// How long a turn may be silent, and what a running turn is doing. Pure.

export type TurnSpec = ArgusSessionSpec["turn"];
export const DEFAULT_TURN: TurnSpec = { silenceSeconds: 600, commandSilenceSeconds: 3600 };

/** When the turn has been silent for too long, ms since the epoch; null = never: a person's answer is waited for. */
export function silentUntil(record: TurnRecord, spec: TurnSpec): number | null {
  if (record.waitsForApproval) return null;
  const seconds = record.commands.size > 0 ? spec.commandSilenceSeconds : spec.silenceSeconds;
  return record.heardAt + seconds * 1000;
}

/** Why a silent turn is stopped, for its sender. */
export function silenceWords(record: TurnRecord, spec: TurnSpec): string {
  const [command] = record.commands.values();
  if (command !== undefined) {
    return `the command \`${command}\` gave no sign of life for ${minutes(spec.commandSilenceSeconds)}.`;
  }
  return `the agent gave no sign of life for ${minutes(spec.silenceSeconds)}.`;
}

function minutes(seconds: number): string {
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

/** What whoever waits behind the running turn waits for. */
export function runningWords(record: TurnRecord): string {
  if (record.waitsForApproval) return "The turn before it waits for an approval.";
  if (record.trouble) return `The turn before it waits for the model: ${record.trouble}`;
  const [command] = record.commands.values();
  if (command !== undefined) return `The turn before it runs \`${command.slice(0, 200)}\`.`;
  return "The turn before it is running.";
}
