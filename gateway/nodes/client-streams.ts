import { ArgusError } from "#lib/errors.ts";
import { headerBytes, OPCODE, textFrame, writeHeader } from "#lib/frames.ts";
import { NODE_STREAM_ENDED } from "#protocol/node-methods.ts";
import type { OpenStream, StreamSink } from "./streams.ts";

/** Streams of one client. */
const MAX_CLIENT_STREAMS = 16;
/** Where the stream's id stands in a chunk's wire frame. */
const STREAM_ID_AT = 2;

/** Sends frames to the client; false = wait for `drained`. */
type Send = (frames: Buffer[]) => boolean;

/** The output that one client follows: the node's bytes go on as they came, at the client's pace. */
export class ClientStreams {
  readonly #send: Send;
  readonly #streams = new Map<number, OpenStream>();

  constructor(send: Send) {
    this.#send = send;
  }

  /** Throws `InvalidInput` for an id that is in use, `Busy` at the bound, and what `begin` throws. */
  open(id: number, begin: (sink: StreamSink) => OpenStream): void {
    if (this.#streams.has(id))
      throw new ArgusError("InvalidInput", `Stream ${id} is open already.`);
    if (this.#streams.size >= MAX_CLIENT_STREAMS) {
      throw new ArgusError(
        "Busy",
        `${MAX_CLIENT_STREAMS} streams of this client are open already.`,
      );
    }
    let isOver = false;
    const sink: StreamSink = {
      chunk: (_, frame) => {
        frame.writeUInt32BE(id, STREAM_ID_AT);
        return this.#send([header(frame.length), frame]);
      },
      ended: (how) => {
        isOver = true;
        this.#streams.delete(id);
        const params = { ...how, streamId: id };
        this.#send([textFrame(JSON.stringify({ method: NODE_STREAM_ENDED, params }))]);
      },
    };
    const stream = begin(sink);
    if (!isOver) this.#streams.set(id, stream);
  }

  close(id: number): void {
    this.#streams.get(id)?.close();
    this.#streams.delete(id);
  }

  /** What was sent has left. */
  drained(): void {
    for (const stream of this.#streams.values()) stream.drained();
  }

  closeAll(): void {
    for (const id of this.#streams.keys()) this.close(id);
  }
}

function header(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes(length));
  writeHeader(bytes, 0, OPCODE.binary, length);
  return bytes;
}
