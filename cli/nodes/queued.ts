import type { NodeAnswer } from "#protocol/node-methods.ts";
import { QueuedPayload, type QueuedRow, QueuedRows } from "#protocol/queued-call.ts";
import { printableLine } from "../chat/printable.ts";
import { EXIT } from "../exit.ts";
import { say } from "../say.ts";
import { age } from "../table.ts";
import type { GatewayLink } from "./link.ts";

/** Ends that a job on its device tells better. */
const ELSEWHERE = new Set(["done", "started"]);

/** Calls that wait for a device, and such ones that never became a job; of one device, or of all. */
export async function queuedCalls(link: GatewayLink, node?: string): Promise<QueuedRow[]> {
  const { calls } = QueuedRows.parse(await link.request("argus/node/queue/list"));
  const shown = calls.filter(({ state }) => !ELSEWHERE.has(state));
  return node === undefined ? shown : shown.filter(({ nodeId }) => nodeId === node);
}

/** A row of `argus jobs`. */
export function queuedCells(row: QueuedRow, now: Date): string[] {
  const { nodeId, callId, state, expiresAtMs, queuedAtMs, reason, words } = row;
  const left = expiresAtMs === undefined ? "" : `, ${leftWords(expiresAtMs - now.getTime())} left`;
  const why = state === "failed" || state === "unknown" ? ` (${reason.slice(0, 60)})` : "";
  const queued = age(new Date(queuedAtMs).toISOString(), now);
  return [nodeId, callId, `${state}${left}${printableLine(why)}`, queued, words];
}

/** As a job in JSON: `state` says that it is none yet. */
export const asJob = ({ callId, nodeId, queuedAtMs, words, ...rest }: QueuedRow) => ({
  ...rest,
  jobId: callId,
  node: nodeId,
  running: false,
  argv: [words],
  createdAtMs: queuedAtMs,
});

function leftWords(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes}m` : `${Math.round(minutes / 60)}h`;
}

/** Takes the call back; undefined when no queued call has that id. */
export async function cancelQueued(link: GatewayLink, call: string): Promise<number | undefined> {
  const rows = await queuedCalls(link);
  const isOpen = rows.some((row) => row.endedAtMs === undefined && row.callId.startsWith(call));
  if (!isOpen) return undefined;
  await link.request("argus/node/queue/cancel", { call });
  return say(`${call} is cancelled`);
}

/** What the gateway said to a call that may wait, where it does; undefined: it is running, or has run. */
export function sayQueued(answer: NodeAnswer): number | undefined {
  const { data } = QueuedPayload.safeParse(answer.payload);
  if (!data || !answer.ok) return undefined;
  const { callId, nodeId, state, expiresAtMs, jobId } = data;
  if (expiresAtMs === undefined)
    return say(`${callId} was ${state}${jobId ? ` as job ${jobId}` : ""}`);
  const until = leftWords(expiresAtMs - Date.now());
  say(
    `${nodeId} is away: queued as ${callId} for ${until}. Its end wakes the session; argus jobs shows it.`,
  );
  return EXIT.ok;
}
