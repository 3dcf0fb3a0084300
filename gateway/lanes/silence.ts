import type { ArgusSessionSpec } from "#crds/argus-session.ts";
import { commandWords } from "./command-words.ts";
import type { TurnRecord } from "./turn-record.ts";

// How long a turn may be silent, and what a running turn is doing. Pure.

export type TurnSpec = ArgusSessionSpec["turn"];
export const DEFAULT_TURN: TurnSpec = { silenceSeconds: 600, commandSilenceSeconds: 3600 };

/** When the turn has been silent for too long, on the record's monotonic clock; null = never: a person's answer is waited for. */
export function silentUntil(record: TurnRecord, spec: TurnSpec): number | null {
  if (record.waitsForApproval) return null;
  return record.heardAt + deadline(record, spec) * 1000;
}

/** Of a turn that was joined in its middle it is not known whether a command runs: it gets the longer one. */
function deadline({ commands, joined }: TurnRecord, spec: TurnSpec): number {
  const { silenceSeconds, commandSilenceSeconds } = spec;
  return commands.size > 0 || joined ? commandSilenceSeconds : silenceSeconds;
}

/** Why a silent turn is stopped, for its sender. */
export function silenceWords(record: TurnRecord, spec: TurnSpec): string {
  const [command] = record.commands.values();
  if (command !== undefined) {
    return `the command \`${commandWords(command)}\` gave no sign of life for ${minutes(spec.commandSilenceSeconds)}.`;
  }
  return `the agent gave no sign of life for ${minutes(deadline(record, spec))}.`;
}

function minutes(seconds: number): string {
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

/** Somebody or the deadline wants the turn to end. `since` is of the monotonic clock. */
export interface Stopping {
  reason: string;
  since: number;
}
/** An interrupt usually works within milliseconds; one that does not within this time is told of. */
const STUBBORN_MS = 60_000;

/** What the running turn does, in words: for those who wait behind it, and for a status message. */
export function runningWords(record: TurnRecord, stopping?: Stopping, now = 0): string {
  if (stopping) return stoppingWords(stopping, now);
  if (record.waitsForApproval) return "The running turn waits for an approval.";
  if (record.trouble) return `The running turn waits for ${record.trouble}.`;
  const [command] = record.commands.values();
  if (command !== undefined) {
    return `The running turn executes \`${commandWords(command).slice(0, 200)}\`.`;
  }
  return "A turn is running.";
}

function stoppingWords({ reason, since }: Stopping, now: number): string {
  const words = `The running turn is being stopped: ${reason}`;
  if (!isStubborn({ since }, now)) return words;
  const for_ = minutes(Math.floor((now - since) / 60_000) * 60);
  return `${words} It has not ended for ${for_}: delete the session's pod to end it by force.`;
}

/** Whether an interrupted turn should have ended long ago. */
export function isStubborn({ since }: Pick<Stopping, "since">, now: number): boolean {
  return now - since >= STUBBORN_MS;
}
