import { once } from "node:events";
import { WebSocket } from "ws";
import { z } from "zod";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { SessionParams, SessionRow } from "#protocol/client.ts";
import type { ClientFile } from "../client.ts";

const Rows = z.object({ sessions: z.array(SessionRow) });
const CALL_MS = 15_000;

export async function listSessions(gateway: ClientFile): Promise<SessionRow[]> {
  const answer = await call(gateway, "GET", "/sessions");
  return Rows.parse(await answer.json()).sessions;
}

export async function deleteByGateway(gateway: ClientFile, name: string): Promise<void> {
  try {
    await call(gateway, "DELETE", `/sessions/${encodeURIComponent(name)}`);
  } catch (error) {
    if (!(error instanceof ArgusError && error.code === "NotFound")) throw error;
    throw new ArgusError("NotFound", `no session ${name}: \`argus sessions\` lists them`);
  }
}

async function call({ url, token }: ClientFile, method: string, path: string): Promise<Response> {
  const headers = { authorization: `Bearer ${token}` };
  const signal = AbortSignal.timeout(CALL_MS);
  const answer = await fetch(`${url}${path}`, { method, headers, signal }).catch((error) => {
    const why = error instanceof Error && error.cause ? error.cause : error;
    const words = `the gateway at ${url} cannot be reached (${errorMessage(why)}). Is \`argus up\` running?`;
    throw new ArgusError("Unavailable", words);
  });
  if (!answer.ok) throw refusal(answer.status, await answer.text());
  return answer;
}

function refusal(status: number, body: string): ArgusError {
  const words = detailOf(body) ?? `the gateway answered ${status}`;
  if (status === 401)
    return new ArgusError("Unauthorized", `${words}: check --token or ARGUS_TOKEN`);
  if (status === 404) return new ArgusError("NotFound", words);
  return new ArgusError(status >= 500 ? "Unavailable" : "InvalidInput", words);
}

function detailOf(body: string): string | undefined {
  try {
    return z.object({ detail: z.string() }).parse(JSON.parse(body)).detail;
  } catch {
    return undefined;
  }
}

const FirstFrame = z.object({ method: z.literal("argus/session"), params: SessionParams });

/** Asks for a new session the way every client can; resolves to its name. */
export async function createByGateway({ url, token }: ClientFile): Promise<string> {
  const address = new URL(`${url.replace(/^http/, "ws")}/ws?session=new`);
  const socket = new WebSocket(address, { headers: { authorization: `Bearer ${token}` } });
  try {
    const signal = AbortSignal.timeout(CALL_MS);
    const [data] = await Promise.race([once(socket, "message", { signal }), refused(socket)]);
    return FirstFrame.parse(JSON.parse(String(data))).params.id;
  } catch (error) {
    throw new ArgusError("Unavailable", `no session was made: ${errorMessage(error)}`);
  } finally {
    socket.close();
  }
}

async function refused(socket: WebSocket): Promise<never> {
  const [code, reason] = (await once(socket, "close")) as [number, Buffer];
  throw new Error(reason.toString() || `the gateway closed with ${code}`);
}
