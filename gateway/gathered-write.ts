import type { Socket } from "node:net";

/**
 * Writes buffers in one system call. False = the kernel did not take them all: wait for 'drain'.
 * `write` itself says no above 16 KiB, also when nothing waits; that would stop and start the other side for every chunk.
 */
export function writeGathered(socket: Socket, buffers: readonly Buffer[]): boolean {
  const [first] = buffers;
  if (buffers.length === 1 && first) socket.write(first);
  else {
    socket.cork();
    for (const buffer of buffers) socket.write(buffer);
    socket.uncork();
  }
  return !socket.writableNeedDrain || socket.writableLength === 0;
}
