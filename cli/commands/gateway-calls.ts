import { z } from "zod";
import { ArgusError, type ErrorCode, errorMessage } from "#lib/errors.ts";
import { SessionRow } from "#protocol/client.ts";
import type { ClientFile } from "../client.ts";

const Rows = z.object({ sessions: z.array(SessionRow) });
const LOOK_MS = 15_000;
/** Longer than the gateway waits for a session's pod. */
const CALL_MS = 120_000;

export async function listSessions(gateway: ClientFile): Promise<SessionRow[]> {
  const answer = await call(gateway, "GET", "/sessions");
  return Rows.parse(await answer.json()).sessions;
}

/** One HTTP request. Throws what the gateway says, `Unavailable` when it does not answer. */
export async function call(
  { url, token }: ClientFile,
  method: "GET" | "POST" | "PUT",
  path: string,
  body?: unknown,
): Promise<Response> {
  const request = {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    signal: AbortSignal.timeout(method === "GET" ? LOOK_MS : CALL_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
  const answer = await fetch(`${url}${path}`, request).catch((error) => {
    const why = error instanceof Error && error.cause ? error.cause : error;
    const words = `the gateway at ${url} cannot be reached (${errorMessage(why)}). Is \`argus up\` running?`;
    throw new ArgusError("Unavailable", words);
  });
  if (!answer.ok) throw refusal(answer.status, await answer.text());
  return answer;
}

const CODES: Record<number, ErrorCode> = {
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  429: "Busy",
};

function refusal(status: number, body: string): ArgusError {
  const words = detailOf(body) ?? `the gateway answered ${status}`;
  if (status === 401)
    return new ArgusError("Unauthorized", `${words}: check --token or ARGUS_TOKEN`);
  return new ArgusError(CODES[status] ?? (status >= 500 ? "Unavailable" : "InvalidInput"), words);
}

function detailOf(body: string): string | undefined {
  try {
    return z.object({ detail: z.string() }).parse(JSON.parse(body)).detail;
  } catch {
    return undefined;
  }
}
