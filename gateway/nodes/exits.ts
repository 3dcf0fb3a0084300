import type { ArgusSession } from "#crds/kinds.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { ProcessExited } from "#protocol/node.ts";
import { acceptEvent } from "../accept-event.ts";
import type { Lanes } from "../lanes/lanes.ts";
import type { NodeLink } from "./link.ts";

/** A session without room for an event is asked again after that long, for as long as the node stays. */
const RETRY_MS = 5000;
/** With the other facts of an event's meta they stay below `MAX_EVENT_META_BYTES`. */
const META_CWD_BYTES = 768;
const META_ARGV_BYTES = 512;

export interface ExitsOptions {
  lanes: Lanes;
  /** The session of that name, if the node may speak to it. */
  session: (link: NodeLink, name: string | null) => ArgusSession | undefined;
  logger: Logger;
}

/** Ends of jobs become events that wake their session; the node is told once that is on the disk, and repeats them until then. */
export class JobExits {
  readonly #options: ExitsOptions;
  /** Being committed, by node and job. */
  readonly #busy = new Set<string>();

  constructor(options: ExitsOptions) {
    this.#options = options;
  }

  take(payload: unknown, link: NodeLink, isThere: () => boolean): void {
    const { data: exited } = ProcessExited.safeParse(payload);
    if (!exited) return;
    const key = `${link.nodeId}/${exited.jobId}`;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    void this.#tell(exited, link, isThere).finally(() => this.#busy.delete(key));
  }

  async #tell(exited: ProcessExited, link: NodeLink, isThere: () => boolean): Promise<void> {
    const { jobId } = exited;
    while (isThere()) {
      const session = this.#options.session(link, exited.sessionId);
      try {
        if (session) await this.#commit(exited, link, session);
        else this.#options.logger.info({ node: link.nodeId, jobId }, "a job of no session ended");
        return link.send("node.process.exited.ack", { jobId });
      } catch (error) {
        const facts = { node: link.nodeId, jobId, error: errorMessage(error) };
        this.#options.logger.warn(facts, "the end of a job could not be written down yet");
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  async #commit(exited: ProcessExited, link: NodeLink, session: ArgusSession): Promise<void> {
    const { jobId, argv, cwd, exitCode, signal, timedOut, orphaned } = exited;
    const meta = {
      nodeId: link.nodeId,
      jobId,
      cwd: cut(cwd, META_CWD_BYTES),
      exitCode,
      signal,
      timedOut,
    };
    await acceptEvent(await this.#options.lanes.of(session), {
      // A job ends once, however often that is told.
      key: `node/${link.nodeId}/${jobId}/exited`,
      kind: "process",
      text: exitText(exited, label(link)),
      meta: { ...meta, orphaned, argv: cut(argv.join(" "), META_ARGV_BYTES) },
      wakes: true,
      concurrencyPolicy: "Allow",
      source: { name: link.nodeId, uid: `node:${link.nodeId}`.slice(0, 128) },
    });
  }
}

/** As much of the beginning as JSON says in so many bytes. */
export function cut(text: string, bytes: number): string {
  let left = text.slice(0, bytes);
  while (Buffer.byteLength(JSON.stringify(left)) > bytes) {
    left = left.slice(0, Math.floor(left.length * 0.9));
  }
  return left;
}

const label = ({ info, nodeId }: NodeLink) =>
  info.displayName && info.displayName !== nodeId ? `${info.displayName} (${nodeId})` : nodeId;

/** What the agent reads; absent parts are left out. */
export function exitText(exited: ProcessExited, node: string): string {
  const { jobId, argv, cwd, exitCode, signal, timedOut, orphaned, reason } = exited;
  const result = [
    exitCode === null ? "" : `exitCode=${exitCode}`,
    signal === null ? "" : `signal=${signal}`,
    timedOut ? "timedOut=true" : "",
    orphaned ? "orphaned=true" : "",
  ].filter(Boolean);
  const lines = [
    `A job on ${node} has ended.`,
    `jobId: ${jobId}`,
    `command: ${argv.join(" ").slice(0, 1000)}`,
    `cwd: ${cwd}`,
    result.length > 0 ? `result: ${result.join(" ")}` : "",
    reason ? `reason: ${reason}` : "",
    block("stdout", exited.stdoutTail),
    block("stderr", exited.stderrTail),
    `More: node_invoke {"node":"${exited.nodeId}","command":"process.logs","params":{"jobId":"${jobId}"}}`,
  ];
  return lines.filter(Boolean).join("\n");
}

/** The end of an output; both fit into one event. */
const block = (name: string, text: string) =>
  text.trim() === "" ? "" : `${name} (tail):\n${text.slice(-1500)}`;
