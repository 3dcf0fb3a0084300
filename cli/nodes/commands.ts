import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { NodeAnswer, NodePending, NodeRow } from "#protocol/node-methods.ts";
import { printableLine } from "../chat/printable.ts";
import { findGateway } from "../client.ts";
import type { Environment } from "../config.ts";
import { EXIT } from "../exit.ts";
import { say } from "../say.ts";
import { age, table } from "../table.ts";
import { type GatewayLink, sessionOf, withLink } from "./link.ts";
import { asJob, cancelQueued, queuedCalls, queuedCells } from "./queued.ts";
import { failed } from "./run.ts";

export interface NodesCommand {
  session?: string;
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

const onLink = <T>(
  command: NodesCommand & { node?: string },
  work: (link: GatewayLink) => Promise<T>,
): Promise<T> => withLink(findGateway(command), sessionOf(command.session, command.node), work);

const Rows = z.object({ nodes: z.array(NodeRow) });

export async function list(
  command: NodesCommand & { all?: boolean; json?: boolean },
): Promise<number> {
  const { all = false } = command;
  const answer = await onLink(command, (link) => link.request("argus/node/list", { all }));
  const { nodes } = Rows.parse(answer);
  if (command.json) return say(JSON.stringify(nodes, undefined, 2));
  if (nodes.length === 0) return say("no nodes yet: `argus node-host pair <url>` on a device");
  const now = new Date();
  const cells = nodes.map((node) => [
    node.nodeId,
    node.displayName,
    node.platform,
    node.connected ? "connected" : "away",
    node.lastSeenMs === null ? "-" : age(new Date(node.lastSeenMs).toISOString(), now),
    node.sessions?.join(",") ?? "",
  ]);
  process.stdout.write(table(["NODE", "NAME", "PLATFORM", "STATE", "SEEN", "SESSIONS"], cells));
  return EXIT.ok;
}

/** What waits for the owner: devices that show a code, commands that a device's policy asks about. */
export async function pending(command: NodesCommand & { json?: boolean }): Promise<number> {
  const waiting = NodePending.parse(
    await onLink(command, (link) => link.request("argus/node/pending")),
  );
  if (command.json) return say(JSON.stringify(waiting, undefined, 2));
  const { pairings, approvals } = waiting;
  if (pairings.length + approvals.length === 0) return say("nothing waits");
  const left = (at: number) => `${Math.max(0, Math.round((at - Date.now()) / 1000))}s`;
  const cells = [
    ...pairings.map((row) => [
      row.code,
      "device",
      row.nodeId,
      left(row.expiresAtMs),
      `${row.displayName} ${row.platform}`,
    ]),
    ...approvals.map((row) => [
      row.approvalId.slice(0, 8),
      row.command,
      row.nodeId,
      left(row.expiresAtMs),
      row.cwd ? `${row.summary}  (in ${row.cwd})` : row.summary,
    ]),
  ];
  process.stdout.write(table(["CODE", "WHAT", "NODE", "LEFT", "DETAILS"], cells));
  return EXIT.ok;
}

const Decided = z.object({
  device: z
    .object({ nodeId: z.string(), displayName: z.string(), sessions: z.array(z.string()) })
    .optional(),
  approval: z.object({ nodeId: z.string(), summary: z.string() }).optional(),
});

export async function decide(
  command: NodesCommand & { code: string; refuse?: boolean },
): Promise<number> {
  const { code, refuse = false } = command;
  const method = refuse ? "argus/node/refuse" : "argus/node/approve";
  const answer = await onLink(command, (link) => link.request(method, { code }));
  const { device, approval } = Decided.parse(answer);
  if (approval) {
    const words = printableLine(approval.summary);
    return say(`${approval.nodeId} ${refuse ? "does not run" : "runs"}: ${words}`);
  }
  if (!device) return say("refused");
  const { nodeId, displayName, sessions } = device;
  return say(`${printableLine(displayName)} (${nodeId}) may be used by ${sessions.join(", ")}`);
}

export async function revoke(command: NodesCommand & { node: string }): Promise<number> {
  const { node } = command;
  const answer = await onLink(command, (link) => link.request("argus/node/revoke", { node }));
  const { nodeId } = z.object({ nodeId: z.string() }).parse(answer);
  return say(`${nodeId} is cut off`);
}

const Jobs = z.object({
  /** By the device's clock, as its other times are. */
  nowMs: z.number().optional(),
  jobs: z.array(
    z.looseObject({
      jobId: z.string(),
      running: z.boolean(),
      argv: z.array(z.string()),
      createdAtMs: z.number(),
      exitCode: z.number().nullish(),
      signal: z.string().nullish(),
      orphaned: z.boolean().optional(),
    }),
  ),
});
type Job = z.infer<typeof Jobs>["jobs"][number];

/** The session's jobs on one node, or on all that are there, after the calls that wait for one. */
export async function jobs(
  command: NodesCommand & { node?: string; json?: boolean },
): Promise<number> {
  const { queued, found } = await onLink(command, async (link) => {
    const { nodes } = Rows.parse(await link.request("argus/node/list"));
    const there = nodes.filter(({ connected }) => connected).map(({ nodeId }) => nodeId);
    const only = nodes.find(({ nodeId, displayName }) =>
      [nodeId, displayName].includes(command.node ?? ""),
    );
    const waiting = await queuedCalls(link, only?.nodeId ?? command.node);
    // Of a device that is away there is only what waits for it.
    const isAway = only?.connected === false && waiting.length > 0;
    const wanted = command.node === undefined ? there : isAway ? [] : [command.node];
    const jobsThere = await Promise.all(wanted.map((node) => jobsOf(link, node)));
    return { queued: waiting, found: jobsThere.flat() };
  });
  if (command.json) return say(JSON.stringify([...queued.map(asJob), ...found], undefined, 2));
  if (found.length + queued.length === 0) return say("no jobs");
  const now = new Date();
  const cells = found.map((job) => [
    job.node,
    job.jobId,
    stateOf(job),
    age(new Date(job.createdAtMs).toISOString(), now),
    job.argv.join(" "),
  ]);
  const rows = [...queued.map((row) => queuedCells(row, now)), ...cells];
  process.stdout.write(table(["NODE", "JOB", "STATE", "AGE", "COMMAND"], rows));
  return EXIT.ok;
}

function stateOf({ running, orphaned, exitCode, signal }: Job): string {
  if (running) return "running";
  if (orphaned) return "lost";
  return typeof exitCode === "number" ? `exit ${exitCode}` : (signal ?? "ended");
}

async function jobsOf(link: GatewayLink, node: string) {
  const answer = await invoke(link, node, "process.list", {});
  const { jobs: found, nowMs } = Jobs.parse(answer.payload);
  const skewMs = nowMs === undefined ? 0 : Date.now() - nowMs;
  return found.map((job) => ({
    ...job,
    createdAtMs: job.createdAtMs + skewMs,
    node: answer.nodeId,
  }));
}

/** Ends a job, or takes back a call that waits for its device. */
export async function kill(command: NodesCommand & { node: string; job: string }): Promise<number> {
  const { node, job: jobId } = command;
  return await onLink(command, async (link) => {
    const cancelled = await cancelQueued(link, jobId);
    if (cancelled !== undefined) return cancelled;
    await invoke(link, node, "process.kill", { jobId });
    return say(`${jobId} has ended`);
  });
}

async function invoke(link: GatewayLink, node: string, command: string, params: object) {
  const answer = NodeAnswer.parse(
    await link.request("argus/node/invoke", { node, command, params }),
  );
  if (!answer.ok) throw failed(answer);
  return answer;
}

/** `argus run` without a program. */
export function programOf(words: string[]): string[] {
  if (words.length > 0) return words;
  throw new ArgusError("InvalidInput", "give a program after --: argus run laptop -- ls -l");
}
