import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { ClientHttp2Stream } from "node:http2";

const CREATED = "http2.client.stream.created";

/**
 * Keeps the process alive when a connection breaks under an HTTP/2 stream that undici has just given up: its listeners are off by then,
 * and an error that nobody hears ends a process. Whoever waits for the answer is told by undici all the same.
 */
export function hearStreamErrors(): void {
  unsubscribe(CREATED, hear);
  subscribe(CREATED, hear);
}

function hear(message: unknown): void {
  const { stream } = message as { stream: ClientHttp2Stream };
  stream.on("error", () => undefined);
}
