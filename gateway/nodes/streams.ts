import type { z } from "zod";
import { decodeChunk, type OutputChunk, type OutputName, StreamEnd } from "#protocol/node.ts";
import type { NodeLink } from "./link.ts";

/** Streams of one node. */
export const MAX_NODE_STREAMS = 64;
/** How long a stream waits for its node to come back. */
export const STREAM_AWAY_MS = 10 * 60_000;
/** Taken bytes that the node is not told about yet; well below its window. */
const ACK_BYTES = 256 * 1024;

/** How a job ended, or why there is no more of its output. */
const StreamEnded = StreamEnd.omit({ streamId: true });
export type StreamEnded = z.infer<typeof StreamEnded>;
export interface StreamSink {
  /** `frame` is the whole wire frame of the chunk. False = no more room: `drained` follows. */
  chunk(chunk: OutputChunk, frame: Buffer): boolean;
  /** Called once, last. */
  ended(how: StreamEnded): void;
}

export interface WantedStream {
  jobId: string;
  sessionUid: string;
  sessionId: string;
  offsets: Record<OutputName, number>;
}

interface Stream {
  wanted: WantedStream;
  sink: StreamSink;
  /** On the present connection; undefined without one. */
  wireId: number | undefined;
  unacked: number;
  full: boolean;
  timer: NodeJS.Timeout | undefined;
}

export interface OpenStream {
  drained(): void;
  close(): void;
}

/** Output of a node's jobs: the bytes of each stream come once and in order, whatever becomes of the node's connections. */
export class NodeStreams {
  readonly #streams = new Set<Stream>();
  readonly #byWireId = new Map<number, Stream>();
  #nextId = 0;
  #link: NodeLink | undefined;

  get size(): number {
    return this.#streams.size;
  }

  open(wanted: WantedStream, sink: StreamSink): OpenStream {
    const stream: Stream = {
      wanted: { ...wanted, offsets: { ...wanted.offsets } },
      sink,
      wireId: undefined,
      unacked: 0,
      full: false,
      timer: undefined,
    };
    if (this.#streams.size >= MAX_NODE_STREAMS) {
      sink.ended(refused("BUSY", `${MAX_NODE_STREAMS} streams of this device are open already`));
    } else {
      this.#streams.add(stream);
      if (this.#link) this.#begin(stream, this.#link);
      else this.#waitForNode(stream);
    }
    return {
      drained: () => this.#drained(stream),
      close: () => this.#close(stream),
    };
  }

  connected(link: NodeLink): void {
    this.#link = link;
    for (const stream of this.#streams) this.#begin(stream, link);
  }

  disconnected(): void {
    this.#link = undefined;
    this.#byWireId.clear();
    for (const stream of this.#streams) this.#waitForNode(stream);
  }

  /** A binary frame of the node. */
  take(frame: Buffer): void {
    const chunk = decodeChunk(frame);
    const stream = chunk && this.#byWireId.get(chunk.streamId);
    if (!chunk || !stream) return;
    const { offsets } = stream.wanted;
    // A node that sends other bytes than it was asked for is not believed.
    if (chunk.offset !== offsets[chunk.output]) {
      return this.#end(stream, refused("BAD_STREAM", "the device sent bytes out of order"));
    }
    offsets[chunk.output] += chunk.bytes.length;
    stream.unacked += chunk.bytes.length;
    if (!stream.sink.chunk(chunk, frame)) stream.full = true;
    else if (!stream.full && stream.unacked >= ACK_BYTES) this.#ack(stream);
  }

  ended(payload: unknown): void {
    const { data } = StreamEnd.safeParse(payload);
    const stream = data && this.#byWireId.get(data.streamId);
    if (!stream) return;
    const { streamId: _, ...how } = data;
    this.#end(stream, how);
  }

  endThose(gone: (wanted: WantedStream) => boolean, why: string): void {
    for (const stream of this.#streams)
      if (gone(stream.wanted)) {
        this.#close(stream);
        stream.sink.ended(refused("DENIED", why));
      }
  }

  #begin(stream: Stream, link: NodeLink): void {
    clearTimeout(stream.timer);
    if (!link.can("stream")) {
      return this.#end(stream, refused("UNSUPPORTED", "this device cannot stream output"));
    }
    const wireId = this.#nextId++ % 2 ** 32;
    stream.wireId = wireId;
    stream.unacked = 0;
    this.#byWireId.set(wireId, stream);
    const { jobId, sessionId, offsets } = stream.wanted;
    const { stdout: stdoutOffset, stderr: stderrOffset } = offsets;
    link.send("node.stream.open", {
      streamId: wireId,
      jobId,
      sessionId,
      stdoutOffset,
      stderrOffset,
    });
  }

  #drained(stream: Stream): void {
    if (!stream.full) return;
    stream.full = false;
    this.#ack(stream);
  }

  #ack(stream: Stream): void {
    if (stream.wireId === undefined) return;
    stream.unacked = 0;
    this.#link?.send("node.stream.ack", { streamId: stream.wireId, ...stream.wanted.offsets });
  }

  #waitForNode(stream: Stream): void {
    stream.wireId = undefined;
    clearTimeout(stream.timer);
    const gone = refused(
      "NOT_CONNECTED",
      "the device has been away too long; its job may still run",
    );
    stream.timer = setTimeout(() => this.#end(stream, gone), STREAM_AWAY_MS);
  }

  #close(stream: Stream): void {
    const { wireId } = stream;
    this.#forget(stream);
    if (wireId !== undefined) this.#link?.send("node.stream.close", { streamId: wireId });
  }

  #end(stream: Stream, how: StreamEnded): void {
    if (!this.#streams.has(stream)) return;
    this.#forget(stream);
    stream.sink.ended(how);
  }

  #forget(stream: Stream): void {
    clearTimeout(stream.timer);
    this.#streams.delete(stream);
    if (stream.wireId !== undefined) this.#byWireId.delete(stream.wireId);
    stream.wireId = undefined;
  }
}

const refused = (code: string, message: string): StreamEnded => ({ error: { code, message } });
