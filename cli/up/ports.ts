import { once } from "node:events";
import { createServer } from "node:net";
import { ArgusError, isErrno } from "#lib/errors.ts";

/** A number from a `--port` option. */
export function portOption(name: string, text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new ArgusError("InvalidInput", `${name} ${text}: give a port number, 0 for any free one`);
}

/**
 * The port itself when it is free, or a free one for 0. It is free at this moment only; nothing holds it.
 * Throws Conflict when it is taken.
 */
export async function freePort(port: number, option: string): Promise<number> {
  const server = createServer();
  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    if (!isErrno(error, "EADDRINUSE", "EACCES")) throw error;
    const why = isErrno(error, "EACCES") ? "may not be used by this user" : "is taken";
    throw new ArgusError("Conflict", `port ${port} ${why}: choose another with ${option} <number>`);
  }
  const address = server.address();
  server.close();
  await once(server, "close");
  if (!address || typeof address === "string") throw new ArgusError("Internal", "no port");
  return address.port;
}
