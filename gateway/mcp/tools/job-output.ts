import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import type { OutputName } from "#protocol/node.ts";
import type { OpenStream, StreamEnded } from "../../nodes/streams.ts";
import { failure, type ToolCall, tool } from "../tool.ts";

/** Of one answer, both outputs together. */
const MAX_OUTPUT_BYTES = 32 * 1024;
const MAX_WAIT_MS = 10 * 60_000;

const Input = z.strictObject({
  node: z.string().min(1).max(256).optional(),
  jobId: z.string().min(1).max(128),
  stdoutOffset: z.int().min(0).default(0),
  stderrOffset: z.int().min(0).default(0),
  waitMs: z.int().min(0).max(MAX_WAIT_MS).default(1000),
});
type Input = z.infer<typeof Input>;

/** `job_output`: what a job wrote from these offsets on, as it comes. */
export const jobOutput = tool({
  name: "job_output",
  title: "Output of a job",
  description:
    "Reads what a job wrote from the given byte offsets on (at most 32 KiB), waiting up to waitMs (default 1000) for more or for its end. Go on with the offsets of the answer; `running: false` comes with how it ended.",
  input: Input,
  run: async (args, call) => {
    try {
      const read = await new Reading(args, call).done();
      const { error } = read.end ?? {};
      if (error) return failure(error.code, error.message ?? error.code, { jobId: args.jobId });
      return { structured: { ok: true, jobId: args.jobId, ...read.told } };
    } catch (error) {
      if (!(error instanceof ArgusError) || error.code !== "NotFound") throw error;
      return failure("NODE_NOT_FOUND", error.message, { node: args.node ?? "self" });
    }
  },
});

/** One look at a job's output: ends with the job, with its time, or when its room is full. */
class Reading {
  readonly #args: Input;
  readonly #call: ToolCall;
  readonly #pieces: Record<OutputName, Buffer[]> = { stdout: [], stderr: [] };
  #bytes = 0;
  #end: StreamEnded | undefined;
  #stream: OpenStream | undefined;
  readonly #over = Promise.withResolvers<void>();

  constructor(args: Input, call: ToolCall) {
    this.#args = args;
    this.#call = call;
  }

  async done() {
    const { context, session, signal } = this.#call;
    const { node = "self", jobId, stdoutOffset: stdout, stderrOffset: stderr } = this.#args;
    const finish = () => this.#over.resolve();
    const timer = setTimeout(finish, this.#args.waitMs);
    signal.addEventListener("abort", finish, { once: true });
    try {
      this.#stream = context.nodes.stream(
        session,
        { node, jobId, stdout, stderr },
        {
          chunk: ({ output, bytes }) => this.#take(output, bytes),
          ended: (how) => {
            this.#end = how;
            finish();
          },
        },
      );
      await this.#over.promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      this.#stream?.close();
    }
    return { end: this.#end, told: this.#told() };
  }

  #take(output: OutputName, bytes: Buffer): boolean {
    const part = bytes.subarray(0, MAX_OUTPUT_BYTES - this.#bytes);
    if (part.length > 0) {
      this.#pieces[output].push(part);
      this.#bytes += part.length;
      this.#call.progress(part.toString("utf8").slice(-2000));
    }
    if (this.#bytes < MAX_OUTPUT_BYTES) return true;
    this.#over.resolve();
    return false;
  }

  #told() {
    // What did not fit in is still to be read, so it has not ended for the reader.
    const isFull = this.#bytes >= MAX_OUTPUT_BYTES;
    const isOver = this.#end !== undefined && !isFull;
    const stdout = wholeText(Buffer.concat(this.#pieces.stdout), isOver);
    const stderr = wholeText(Buffer.concat(this.#pieces.stderr), isOver);
    const { exitCode = null, signal = null, timedOut = false, reason = null } = this.#end ?? {};
    return {
      stdout: stdout.text,
      stderr: stderr.text,
      stdoutOffset: this.#args.stdoutOffset + stdout.bytes,
      stderrOffset: this.#args.stderrOffset + stderr.bytes,
      running: !isOver,
      ...(isOver ? { exitCode, signal, timedOut, reason } : {}),
    };
  }
}

/** Without the beginning of a character whose rest is still to come. */
export function wholeText(bytes: Buffer, isOver: boolean): { text: string; bytes: number } {
  const length = isOver ? bytes.length : wholeLength(bytes);
  return { text: bytes.toString("utf8", 0, length), bytes: length };
}

function wholeLength(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) break;
    const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 0;
    if (needs > 0) return needs > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
