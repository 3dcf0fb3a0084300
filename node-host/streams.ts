import { type FileHandle, open } from "node:fs/promises";
import { BufferPool } from "#lib/buffer-pool.ts";
import { systemClock } from "#lib/clock.ts";
import { isErrno } from "#lib/errors.ts";
import {
  CHUNK_HEADER_BYTES,
  type OutputName,
  STREAM_WINDOW_BYTES,
  StreamAck,
  StreamClose,
  StreamOpen,
  writeChunkHeader,
} from "#protocol/node.ts";
import type { Job } from "./job.ts";
import type { Jobs } from "./jobs.ts";
import { NodeError } from "./node-error.ts";

/** Streams of one connection. */
export const MAX_STREAMS = 64;
const CHUNK_BYTES = 128 * 1024;
/** Unused frames of a connection that are kept; a stream has one with the socket and one that is read. */
const MAX_FREE_FRAMES = 4;
const POLL_MS = 20;

export interface Wire {
  event(event: string, payload: unknown): void;
  /** Resolves when the socket has taken the bytes. */
  binary(frame: Buffer): Promise<void>;
}

interface Stream {
  id: number;
  job: Job;
  sent: Record<OutputName, number>;
  acked: Record<OutputName, number>;
  files: Partial<Record<OutputName, FileHandle>>;
  /** The socket has taken the last chunk. */
  taken: Promise<void>;
  stop: AbortController;
  /** Resolves the wait of a stream whose window is full. */
  wake: () => void;
}

/**
 * Output of jobs on one connection, read from their files: nothing is kept in memory beyond a chunk, and the bytes of an offset
 * are always the same, so a stream that was cut is opened again at the offset that had arrived.
 */
export class Streams {
  readonly #jobs: Jobs;
  readonly #wire: Wire;
  readonly #streams = new Map<number, Stream>();
  readonly #frames = new BufferPool(CHUNK_HEADER_BYTES + CHUNK_BYTES, MAX_FREE_FRAMES);

  constructor(jobs: Jobs, wire: Wire) {
    this.#jobs = jobs;
    this.#wire = wire;
  }

  open(payload: unknown): void {
    const { streamId, jobId, sessionId, stdoutOffset, stderrOffset } = StreamOpen.parse(payload);
    try {
      if (this.#streams.size >= MAX_STREAMS) throw new NodeError("BUSY", "too many streams");
      const at = { stdout: stdoutOffset, stderr: stderrOffset };
      const stream: Stream = {
        id: streamId,
        job: this.#jobs.get(jobId, sessionId ?? null),
        stop: new AbortController(),
        sent: { ...at },
        acked: { ...at },
        files: {},
        taken: Promise.resolve(),
        wake: () => undefined,
      };
      this.#streams.get(streamId)?.stop.abort();
      this.#streams.set(streamId, stream);
      void this.#run(stream);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      this.#wire.event("node.stream.end", { streamId, error: refusal(error) });
    }
  }

  ack(payload: unknown): void {
    const { streamId, stdout, stderr } = StreamAck.parse(payload);
    const stream = this.#streams.get(streamId);
    if (!stream) return;
    stream.acked = { stdout, stderr };
    stream.wake();
  }

  close(payload: unknown): void {
    this.#drop(StreamClose.parse(payload).streamId);
  }

  closeAll(): void {
    for (const id of this.#streams.keys()) this.#drop(id);
  }

  #drop(id: number): void {
    this.#streams.get(id)?.stop.abort();
    this.#streams.delete(id);
  }

  async #run(stream: Stream): Promise<void> {
    try {
      await this.#send(stream);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#end(stream, { error: { code: "NOT_READY", message } });
    } finally {
      for (const file of Object.values(stream.files)) await file.close();
    }
  }

  async #send(stream: Stream): Promise<void> {
    while (!stream.stop.signal.aborted) {
      // Seen before the files are read: all that the job wrote is in them then.
      const { exit } = stream.job;
      // An acknowledgement may come while the files are read: whoever then waited for it would wait for ever.
      const { acked } = stream;
      const moved = [await this.#advance(stream, "stdout"), await this.#advance(stream, "stderr")];
      if (moved.includes("sent")) continue;
      if (stream.acked !== acked) continue;
      if (moved.includes("window")) await windowOpens(stream);
      else if (!exit) await Promise.race([systemClock.sleep(POLL_MS), stream.job.ended]);
      else {
        const { exitCode, signal, timedOut, reason, stdoutBytes, stderrBytes } = exit;
        const how = { exitCode, signal, timedOut, reason, stdoutBytes, stderrBytes };
        return this.#end(stream, how);
      }
    }
  }

  /** Sends the next chunk of one output, if there is one and the peer has room. The next is read while the socket takes it. */
  async #advance(stream: Stream, output: OutputName): Promise<"sent" | "window" | "nothing"> {
    const offset = stream.sent[output];
    const there = stream.job.outputBytes(output) - offset;
    if (there <= 0) return "nothing";
    const room = stream.acked[output] + STREAM_WINDOW_BYTES - offset;
    if (room <= 0) return "window";
    const frame = await this.#read(stream, output, Math.min(there, room, CHUNK_BYTES));
    if (!frame) return "nothing";
    await stream.taken;
    if (stream.stop.signal.aborted) {
      this.#frames.give(frame);
      return "nothing";
    }
    stream.sent[output] = offset + frame.length - CHUNK_HEADER_BYTES;
    stream.taken = this.#wire.binary(frame).finally(() => this.#frames.give(frame));
    return "sent";
  }

  /** The wire frame of up to `length` bytes at the output's offset; undefined when there are none yet. */
  async #read(stream: Stream, output: OutputName, length: number): Promise<Buffer | undefined> {
    const file = stream.files[output] ?? (await opened(stream.job.file(output)));
    if (!file) return undefined;
    stream.files[output] = file;
    const offset = stream.sent[output];
    const frame = this.#frames.take();
    const { bytesRead } = await file.read(frame, CHUNK_HEADER_BYTES, length, offset);
    if (bytesRead === 0) {
      this.#frames.give(frame);
      return undefined;
    }
    writeChunkHeader(frame, { streamId: stream.id, output, offset });
    return frame.subarray(0, CHUNK_HEADER_BYTES + bytesRead);
  }

  #end(stream: Stream, how: object): void {
    if (stream.stop.signal.aborted) return;
    this.#streams.delete(stream.id);
    this.#wire.event("node.stream.end", { streamId: stream.id, ...how });
  }
}

/** Undefined before the job has made its files. */
async function opened(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

const refusal = ({ code, message }: NodeError) => ({ code, message });

function windowOpens(stream: Stream): Promise<void> {
  const { signal } = stream.stop;
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener("abort", done);
      stream.wake = () => undefined;
      resolve();
    };
    stream.wake = done;
    signal.addEventListener("abort", done, { once: true });
  });
}
