import type { ServerResponse } from "node:http";

const TYPES: Record<number, string> = {
  401: "unauthorized",
  403: "forbidden",
  404: "not_found",
  408: "request_timeout",
  413: "too_large",
};

/** Answers with an error of our own, in the model API's shape, and ends the connection: the rest of the body is not read. */
export function refuse(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const code = TYPES[status] ?? "unavailable";
  const body = JSON.stringify({ error: { message: `Argus: ${message}`, type: "argus", code } });
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    connection: "close",
  });
  response.end(body);
}
