import type { Condition } from "#crds/condition.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { isReady, type Pod } from "./pod.ts";

export interface StatusWords {
  state: "starting" | "unavailable";
  message: string;
}

const MAX_MESSAGE = 1000;

/** Why a session cannot be talked to yet, in words: what it waits for, and what a person can do. Pure. */
export function statusWords(
  session: ArgusSession,
  pod: Pod | undefined,
  problem: string | undefined,
): StatusWords {
  const name = session.metadata.name;
  if (session.metadata.deletionTimestamp) {
    return { state: "unavailable", message: `Session ${name} is being deleted.` };
  }
  if (session.spec.operatingMode === "Suspended") {
    return { state: "unavailable", message: suspendedWords(name) };
  }
  const stuck = stuckWords(session);
  if (stuck) return { state: "unavailable", message: stuck };
  return { state: "starting", message: waitingWords(session, pod, problem) };
}

function suspendedWords(name: string): string {
  return `Session ${name} is suspended. Wake it: kubectl patch argussession ${name} --type merge -p '{"spec":{"operatingMode":"Running"}}'`;
}

/** Nothing will change by waiting. */
function stuckWords(session: ArgusSession): string | undefined {
  const finished = condition(session, "Finished");
  if (finished?.status === "True") return words("The session has finished", finished);
  const installed = condition(session, "RuntimeInstalled");
  if (installed?.status === "False" && /fail/i.test(installed.reason)) {
    return words("The runtime's install failed; correct spec.runtime.install", installed);
  }
  return undefined;
}

function waitingWords(
  session: ArgusSession,
  pod: Pod | undefined,
  problem: string | undefined,
): string {
  if (problem) return `${problem} Trying again.`;
  const ready = condition(session, "Ready");
  if (ready && ready.status !== "True") return words("Waiting", ready);
  if (!ready) return "Waiting for the controller to take up the session.";
  if (!pod) return "Waiting for the session's pod.";
  if (!isReady(pod)) return `Waiting for pod ${pod.metadata.name} to become ready.`;
  return `Waiting for pod ${pod.metadata.name} to get an address.`;
}

function words(prefix: string, { reason, message }: Condition): string {
  return `${prefix}: ${reason}${message ? `: ${message}` : ""}`.slice(0, MAX_MESSAGE);
}

export function condition(session: ArgusSession, type: string): Condition | undefined {
  return session.status?.conditions?.find((each) => each.type === type);
}
